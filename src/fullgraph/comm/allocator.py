"""Has freed rows leave the process at once, so that a rank needs no more memory than its live tensors.

glibc takes a block from its heap instead of mapping it once a block of that size was freed, up to 32 MiB, and a heap
with holes keeps all it ever had. A whole graph's tensors are larger than that; those of one rank of many are not, so
that memory would stop falling with more ranks.
"""

import ctypes
import os
import platform
from functools import cache

LARGE_BLOCK = 1 << 20
"""Bytes from which on a block is mapped by itself."""

_M_MMAP_THRESHOLD = -3  # malloc.h


def map_large_blocks() -> None:
    """Fix the threshold of this process at `LARGE_BLOCK`.

    Nothing changes where the C library is not glibc, or where the environment sets the threshold
    (``MALLOC_MMAP_THRESHOLD_`` or ``GLIBC_TUNABLES``).
    """
    is_set = "MALLOC_MMAP_THRESHOLD_" in os.environ or "mmap_threshold" in os.environ.get("GLIBC_TUNABLES", "")
    if _is_glibc() and not is_set:
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK)


def return_free_pages() -> None:
    """Give back what smaller blocks, which lie in the heap, have left free between those in use.

    Nothing happens where the C library is not glibc.
    """
    if _is_glibc():
        ctypes.CDLL(None).malloc_trim(0)


@cache
def _is_glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"
