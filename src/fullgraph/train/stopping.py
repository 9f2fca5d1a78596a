"""A run that is told to stop finishes its epoch first, so that its checkpoint is whole and nothing is lost."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

REPEATED_SECONDS = 2.0
"""Within these a second signal is the first one again: a terminal and a launcher may both send it."""


@dataclass
class StopSignal:
    """Which signal came first; 0 as long as none has."""

    number: int = 0


@contextmanager
def stop_signal() -> Iterator[StopSignal]:
    """SIGINT and SIGTERM are noted within the block; a second one ends the process as it would have without this.

    A signal that is ignored stays so. In other threads than the main one, which hear no signals, nothing is noted.
    """
    noted, noted_at = StopSignal(), 0.0
    if threading.current_thread() is not threading.main_thread():
        yield noted
        return
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal noted_at
        if not noted.number:
            noted.number, noted_at = number, time.monotonic()
        elif time.monotonic() - noted_at > REPEATED_SECONDS:
            signal.signal(number, before[signal.Signals(number)])
            signal.raise_signal(number)

    try:
        for each, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(each, note)
        yield noted
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
