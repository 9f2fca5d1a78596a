"""Memory that was freed between blocks still in use goes back to the system, unless the user has it otherwise."""

import os
import subprocess
import sys

import pytest

_FREE_EVERY_OTHER = """
import torch
import fullgraph as fg

def resident_mib():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) // 1024

fg.init()
torch.ones(6 << 20)  # 24 MiB, freed at once: from here on glibc alone would take smaller blocks from its heap
before = resident_mib()
blocks = [torch.ones(1 << 20) for _ in range(40)]
del blocks[::2]
print(resident_mib() - before)
"""


def _held_mib(**environment: str) -> int:
    command = [sys.executable, "-W", "ignore", "-c", _FREE_EVERY_OTHER]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(command, env=clean | environment, capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_half_of_the_blocks_freed_is_half_of_the_memory():
    assert _held_mib() == pytest.approx(80, abs=8)


def test_a_threshold_in_the_environment_is_left_alone():
    assert _held_mib(MALLOC_MMAP_THRESHOLD_=str(32 << 20)) >= 120
