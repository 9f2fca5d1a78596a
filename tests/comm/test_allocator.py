"""Memory that was freed between blocks still in use goes back to the system, unless the user has it otherwise."""

import os
import subprocess
import sys
from pathlib import Path

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


_FREE_EVERY_OTHER_SMALL_ONE = """
from fullgraph.comm import return_free_pages
blocks = [torch.ones(1 << 16) for _ in range(320)]  # 256 KiB, in the heap
del blocks[::2]
return_free_pages()
print(resident_mib() - before)
"""


def _held_mib(**environment: str) -> int:
    return _printed(_FREE_EVERY_OTHER, **environment)


def _printed(program: str, **environment: str) -> int:
    command = [sys.executable, "-W", "ignore", "-c", program]
    own = ("MALLOC_", "GLIBC_", "THP_")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    done = subprocess.run(command, env=clean | environment, capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_small_blocks_freed_are_given_back_when_asked():
    begun, _ = _FREE_EVERY_OTHER.split("blocks = ")
    assert int(_printed(begun + _FREE_EVERY_OTHER_SMALL_ONE)) == pytest.approx(40, abs=8)


def test_half_of_the_blocks_freed_is_half_of_the_memory():
    assert _held_mib() == pytest.approx(80, abs=8)


_PAGES_OF_ITS_OWN = """
import resource
import torch
import fullgraph as fg

fg.init()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.ones(64 << 20)  # 256 MiB, 65,536 pages of 4 KiB
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.parametrize(("pages", "most_faults"), [({}, 20_000), ({"THP_MEM_ALLOC_ENABLE": "0"}, None)])
def test_large_tensors_lie_on_huge_pages_unless_the_user_has_it_otherwise(pages, most_faults):
    settings = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    available = settings.exists() and "[never]" not in settings.read_text()
    faults = _printed(_PAGES_OF_ITS_OWN, **pages)
    if most_faults is not None and available:
        assert faults < most_faults
    elif "[always]" not in (settings.read_text() if settings.exists() else ""):
        assert faults >= 65_000


def test_a_threshold_in_the_environment_is_left_alone():
    assert _held_mib(MALLOC_MMAP_THRESHOLD_=str(32 << 20)) >= 120
