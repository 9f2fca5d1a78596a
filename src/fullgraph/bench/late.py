"""A latency put into the exchange of rows: messages are posted some milliseconds after the engine posts them.

For measurements on machines whose kernel cannot delay packets itself.
"""

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from types import SimpleNamespace
from typing import Any

Post = Callable[[list[Any]], list[Any]]


class Late:
    """Posts what it is given in order, each ``seconds`` after it was given, from a thread of its own.

    Both ends of a message do this, so that it arrives ``seconds`` later than it would.

    Attributes:
        waited_seconds: what was spent waiting for these messages.
    """

    def __init__(self, post: Post, seconds: float):
        """``post``: what it stands in for, `World.post`."""
        self._post, self._seconds = post, seconds
        self.waited_seconds = 0.0
        self._waiting: queue.SimpleQueue[tuple[float, list[Any], Future[list[Any]]]] = queue.SimpleQueue()
        threading.Thread(target=self._serve, daemon=True).start()

    def __call__(self, operations: list[Any]) -> list[Any]:
        posted: Future[list[Any]] = Future()
        self._waiting.put((time.monotonic() + self._seconds, operations, posted))
        return [SimpleNamespace(wait=partial(self._wait, posted))]

    def _serve(self) -> None:
        while True:
            due, operations, posted = self._waiting.get()
            time.sleep(max(0.0, due - time.monotonic()))
            try:
                posted.set_result(self._post(operations))
            except Exception as error:
                posted.set_exception(error)
            del operations, posted  # rows, which belong to whoever waits for them

    def _wait(self, posted: Future[list[Any]]) -> None:
        start = time.perf_counter()
        for work in posted.result():
            work.wait()
        self.waited_seconds += time.perf_counter() - start
