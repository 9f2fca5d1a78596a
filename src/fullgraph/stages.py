"""Says which part of a long work goes on, on the logger ``fullgraph``: nobody should wait without a word.

A program sees it after ``logging.basicConfig(level=logging.INFO)``; the command line shows it as it likes.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

LOG = logging.getLogger("fullgraph")


@contextmanager
def stage(what: str) -> Iterator[None]:
    """``what`` goes on in the block: said before it, and after it with its seconds, unless it failed.

    The records have it as ``stage``, and the second has ``seconds``.
    """
    LOG.info("%s …", what, extra={"stage": what})
    start = time.perf_counter()
    yield
    seconds = time.perf_counter() - start
    LOG.info("%s: %.1f s", what, seconds, extra={"stage": what, "seconds": seconds})
