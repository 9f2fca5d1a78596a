"""Memory that was freed between blocks still in use goes back to the system, unless the user has it otherwise."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

_PROGRAM = """
import resource
import torch
import fullgraph as fg
from fullgraph.comm import return_free_pages

def resident_mib():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) // 1024

def page_faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

fg.init()
torch.ones(6 << 20)  # 24 MiB, freed at once: from here on glibc alone would take smaller blocks from its heap
before = resident_mib()
blocks = [torch.ones(1 << 20) for _ in range(40)]
del blocks[::2]
print(resident_mib() - before)

del blocks
before = resident_mib()
blocks = [torch.ones(1 << 16) for _ in range(320)]  # 256 KiB, in the heap
del blocks[::2]
return_free_pages()
print(resident_mib() - before)

before = page_faults()
torch.ones(64 << 20)  # 256 MiB, 65,536 pages of 4 KiB
print(page_faults() - before)
"""


class Measured(NamedTuple):
    """In a process of its own.

    Attributes:
        large: MiB still resident of 160 MiB in large blocks, every other of them freed.
        small: the same of 80 MiB in small blocks.
        faults: of pages, by one large tensor.
    """

    large: int
    small: int
    faults: int


def _measured(**environment: str) -> Measured:
    command = [sys.executable, "-W", "ignore", "-c", _PROGRAM]
    own = ("MALLOC_", "GLIBC_", "THP_")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    done = subprocess.run(command, env=clean | environment, capture_output=True, text=True, check=True)
    return Measured(*map(int, done.stdout.split()))


@pytest.fixture(scope="module")
def by_itself() -> Measured:
    return _measured()


@pytest.fixture(scope="module")
def as_told() -> Measured:
    return _measured(MALLOC_MMAP_THRESHOLD_=str(32 << 20), THP_MEM_ALLOC_ENABLE="0")


def test_small_blocks_freed_are_given_back_when_asked(by_itself):
    assert by_itself.small == pytest.approx(40, abs=8)


def test_half_of_the_blocks_freed_is_half_of_the_memory(by_itself):
    assert by_itself.large == pytest.approx(80, abs=8)


def test_a_threshold_in_the_environment_is_left_alone(as_told):
    assert as_told.large >= 120


def test_large_tensors_lie_on_huge_pages_unless_the_user_has_it_otherwise(by_itself, as_told):
    file = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    settings = file.read_text() if file.exists() else "[never]"
    if "[never]" not in settings:
        assert by_itself.faults < 20_000
    if "[always]" not in settings:
        assert as_told.faults >= 65_000
