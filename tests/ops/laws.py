"""What every op must satisfy, written once: equality with a twin, and indifference to the number of threads."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-4, torch.int32: 0}


@contextmanager
def num_threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def assert_close(got: tuple[Tensor, ...], want: tuple[Tensor, ...]) -> None:
    for left, right in zip(got, want, strict=True):
        tolerance = TOLERANCE[right.dtype]
        torch.testing.assert_close(left, right, equal_nan=True, rtol=tolerance, atol=tolerance)


def assert_thread_count_does_not_matter(run: Callable[[], tuple[Tensor, ...]]) -> None:
    """`run` gives the same bits on one thread and on several."""
    with num_threads(1):
        serial = run()
    for count in (2, 3):
        with num_threads(count):
            for one, many in zip(serial, run(), strict=True):
                assert torch.equal(one, many)
