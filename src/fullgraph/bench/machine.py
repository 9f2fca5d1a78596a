"""Which machine, software and commit a measurement comes from, in one line each."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import torch

_SOURCE = Path(__file__).parents[3]


def hardware() -> str:
    """Processor, cores and memory."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB of memory, {platform.system()}"


def card(device: torch.device) -> str:
    """The GPU, its driver, and what kernels were built by."""
    if device.type == "cpu":
        return "a CPU, where numbers mean nothing"
    asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    driver = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()[0]
    name = torch.cuda.get_device_name(device)
    return f"one {name} (driver {driver}, CUDA {torch.version.cuda}, Triton {version('triton')})"


def versions() -> str:
    """The software that decides the numbers."""
    packages = ("fullgraph", "torch", "torch_geometric", "numpy")
    return f"Python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in packages)


def commit() -> str:
    """The commit of the sources, and whether they were changed since; the version where there is no repository."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", "src", "csrc")
    except (OSError, subprocess.CalledProcessError):
        return f"no repository; installed version {version('fullgraph')}"
    return f"{head} with uncommitted changes" if changed else head


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(_SOURCE), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
