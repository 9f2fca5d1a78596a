"""Names for what a rank does, which every profiler of torch shows, and for what travels meanwhile, which none sees."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, Protocol

import torch
from torch.profiler import record_function


def span(name: str) -> AbstractContextManager[Any]:
    """What happens in the block has this name in a trace.

    Torch's own `record_function` costs some microseconds although nobody watches, more than a small round's kernel.
    """
    watched = torch.autograd._profiler_enabled()  # pyright: ignore[reportPrivateImportUsage]
    return record_function(name) if watched else nullcontext()


class Work(Protocol):
    """A message under way."""

    def wait(self) -> Any:
        """Return when it has arrived or left."""
        ...


class Transfer(NamedTuple):
    """One round's messages under way.

    Attributes:
        what: whose rows.
        posted: when this rank was ready to send and to receive, in nanoseconds since 1970.
        complete: when all had arrived and left.
    """

    what: str
    posted: int
    complete: int


class Transfers:
    """Notes when messages arrive, which is while their rank computes: for each round a thread waits in its place."""

    def __init__(self) -> None:
        self.complete: list[Transfer] = []

    def recorded(self, works: Sequence[Work], what: str, posted: int) -> list[Work]:
        """What to wait for instead of ``works``; these are noted here when they are done."""
        done: Future[None] = Future()

        def wait() -> None:
            try:
                for work in works:
                    work.wait()
                self.complete.append(Transfer(what, posted, time.time_ns()))
                done.set_result(None)
            except Exception as error:
                done.set_exception(error)

        threading.Thread(target=wait, daemon=True).start()
        return [_Recorded(done)]


class _Recorded:
    def __init__(self, done: Future[None]):
        self._done = done

    def wait(self) -> None:
        self._done.result()
