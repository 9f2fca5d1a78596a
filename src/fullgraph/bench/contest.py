"""Contenders that do the same work take turns in one process, so that whatever else the machine does hits all alike."""

import gc
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from fullgraph.comm import return_free_pages
from fullgraph.train.memory import PeakMemory


def median_seconds(contenders: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """The median wall time of each contender over ``repeats`` turns, after one turn that does not count."""
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(repeats + 1):
        for name, work in contenders.items():
            start = time.perf_counter()
            work()
            if turn:
                taken[name].append(time.perf_counter() - start)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def compared(
    contenders: Mapping[str, Callable[[], Tensor]], expected: Tensor, repeats: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Of each contender the largest error, over the largest expected number, and the median seconds."""
    largest = float(expected.abs().max())
    with quietly():
        errors = {name: float((work().double() - expected).abs().max()) / largest for name, work in contenders.items()}
        return errors, median_seconds(contenders, repeats)


def beside_best(seconds: dict[str, float]) -> tuple[float, float, str, float]:
    """Our seconds, those of the fastest other contender, its name, and how many times ours they are."""
    own = seconds["fullgraph"]
    other, best = min((taken, name) for name, taken in seconds.items() if name != "fullgraph")
    return own, other, best, other / own


def ms(seconds: float) -> str:
    """Seconds as a cell in milliseconds."""
    return f"{1e3 * seconds:.2f}"


def peak_growth(work: Callable[[], Any]) -> int:
    """Bytes by which resident memory rises at most while ``work`` runs, over what it was just before.

    What is free is given back to the system first (glibc), or memory that others freed would not count when used again.
    """
    gc.collect()
    return_free_pages()
    peak = PeakMemory(torch.device("cpu"))
    work()
    return peak.growth()


def copy_bandwidth(num_bytes: int = 1 << 28, repeats: int = 9) -> float:
    """Bytes read and written per second by a copy far larger than any cache (STREAM's copy; McCalpin 1995)."""
    source = torch.ones(num_bytes // 4)
    target = torch.empty_like(source)
    seconds = median_seconds({"copy": lambda: target.copy_(source)}, repeats)["copy"]
    return 2 * num_bytes / seconds


@contextmanager
def quietly() -> Iterator[None]:
    """Without torch's warnings that compressed rows are a beta feature and their invariants are not checked."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield
