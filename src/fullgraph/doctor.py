"""What of this machine and its software decides how fast fullgraph is, and what to change where it is slow."""

import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
import torch.distributed as dist

from fullgraph import ops
from fullgraph.bench.machine import commit, hardware
from fullgraph.ops.blas import blas

PACKAGES = ("fullgraph", "torch", "torch_geometric", "numpy", "pymetis", "triton")
_HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_LEAST_SHARED_MEMORY = 64 << 20
"""Bytes; a container's default."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing looked at.

    Attributes:
        what: its name.
        found: how it is here.
        advice: what to change and why; "" where all is well.
    """

    what: str
    found: str
    advice: str = ""


def examine() -> Iterator[Finding]:
    """Look at one thing after another; the last ones take a second each, since they measure."""
    for look in (_software, _machine, _threads, _openmp, _huge_pages, _bfloat16, _gpus, _backends, _shared_memory):
        yield look()
    yield from _speeds()


def _software() -> Finding:
    found = [f"Python {platform.python_version()}", f"commit {commit()}"]
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"no {package}")
    return Finding(what="software", found=", ".join(found))


def _machine() -> Finding:
    return Finding(what="machine", found=hardware())


def _threads() -> Finding:
    usable, threads = _usable_cores(), torch.get_num_threads()
    found = f"{threads} per process, on {usable} cores that this process may use"
    advice = ""
    if threads > usable:
        advice = f"threads wait for each other; set OMP_NUM_THREADS to {usable} over the ranks of this machine"
    elif threads < usable and "OMP_NUM_THREADS" in os.environ:
        advice = "OMP_NUM_THREADS leaves cores idle unless that many ranks run here"
    return Finding(what="threads", found=found, advice=advice)


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _openmp() -> Finding:
    """Two runtimes of OpenMP in one process each start as many threads as there are cores."""
    runtimes = _mapped("gomp", "iomp5", "libomp.")
    advice = ""
    if len(runtimes) > 1:
        advice = "several runtimes fight for the cores; install torch and fullgraph from one source"
    return Finding(what="OpenMP", found=", ".join(runtimes) or "not seen", advice=advice)


def _mapped(*names: str) -> list[str]:
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return []
    files = {Path(words[5]).name for line in lines if len(words := line.split(maxsplit=5)) == 6}
    return sorted(file for file in files if any(name in file for name in names))


def _huge_pages() -> Finding:
    if not _HUGE_PAGES.exists():
        return Finding(what="huge pages", found="not on this system")
    setting = _HUGE_PAGES.read_text().partition("[")[2].partition("]")[0]
    advice = ""
    if setting == "never":
        advice = f"mapping rows 4 KiB at a time costs up to half of a small epoch; write madvise into {_HUGE_PAGES}"
    elif os.environ.get("THP_MEM_ALLOC_ENABLE") != "1":
        advice = "THP_MEM_ALLOC_ENABLE is set, but not to 1, which is faster; unset it"
    return Finding(what="huge pages", found=setting, advice=advice)


def _bfloat16() -> Finding:
    capability = torch.backends.cpu.get_cpu_capability()
    multiplies = torch.ops.mkldnn._is_mkldnn_bf16_supported() and _flags() & {"amx_bf16", "avx512_bf16"}
    said = f"multiplied in hardware ({', '.join(sorted(multiplies))})" if multiplies else "not multiplied in hardware"
    return Finding(what="processor", found=f"{capability}, bfloat16 {said}")


def _flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return set(next((line for line in lines if line.startswith("flags")), "").split())


def _gpus() -> Finding:
    if not torch.cuda.is_available():
        built = f"torch is built for CUDA {torch.version.cuda}" if torch.version.cuda else "torch is built without CUDA"
        return Finding(what="GPUs", found=f"none ({built})")
    cards = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    found = ", ".join(f"{card.name} with {card.total_memory / 2**30:.0f} GiB" for card in cards)
    try:
        version("triton")
    except PackageNotFoundError:
        return Finding(what="GPUs", found=found, advice="kernels are plain torch's without it: pip install triton")
    return Finding(what="GPUs", found=found)


def _backends() -> Finding:
    here = [name for name in ("gloo", "nccl", "mpi") if getattr(dist, f"is_{name}_available")()]
    return Finding(what="backends", found=", ".join(here) or "none", advice="" if here else "only one rank can run")


def _shared_memory() -> Finding:
    try:
        free = shutil.disk_usage("/dev/shm").free
    except OSError:
        return Finding(what="shared memory", found="no /dev/shm")
    advice = "data loaders of several processes need more; start the container with --shm-size 1g"
    return Finding(
        what="shared memory",
        found=f"{free / 2**20:,.0f} MiB free",
        advice=advice if free <= _LEAST_SHARED_MEMORY else "",
    )


def _speeds() -> Iterator[Finding]:
    """What memory gives, and what of it a sum over neighbours takes; what a product of rows and a matrix does."""
    source = torch.rand(1 << 25)  # 128 MiB
    read = source.numel() * 4 / _seconds(source.sum) / 1e9
    yield Finding(what="memory", found=f"{read:.1f} GB/s read in a stream")
    num_rows, width, degree = 1 << 16, 256, 16
    x, generator = torch.rand(num_rows, width), torch.Generator().manual_seed(0)
    indices = torch.randint(num_rows, (num_rows * degree,), generator=generator, dtype=torch.int32)
    indptr, out = torch.arange(0, num_rows * degree + 1, degree), torch.zeros(num_rows, width)
    summed = num_rows * degree * width * 4 / _seconds(lambda: ops.spmm(indptr, indices, x, out)) / 1e9
    yield Finding(
        what="sums over neighbours",
        found=f"{summed:.1f} GB/s of rows of {width} numbers, at random",
        advice="other processes use this machine, or its kernels were built without optimization"
        if summed < read / 4
        else "",
    )
    matrix = torch.rand(width, width)
    product = 2e-9 * num_rows * width * width / _seconds(lambda: ops.product(x, matrix))
    half = x.bfloat16(), matrix.bfloat16()
    faster = (2e-9 * num_rows * width * width / _seconds(lambda: ops.product(*half))) / product
    yield Finding(
        what="products",
        found=f"{product:,.0f} GFLOP/s in float32 ({blas()}), {faster:.1f} times that in bfloat16",
        advice=f"--precision bf16-mixed is worth a try: products are {faster:.0f} times as fast" if faster > 2 else "",
    )


def _seconds(work: Callable[[], object], repeats: int = 5) -> float:
    """The fastest of some runs."""
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)
