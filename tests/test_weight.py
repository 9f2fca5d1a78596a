"""What every rank pays for `import fullgraph`: no library beside torch and PyG, and few bytes."""

import subprocess
import sys

MOST_BYTES = 25 << 20
ALL_NAMES = """
import os, sys, torch, torch_geometric

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

modules, before = set(sys.modules), resident()
import fullgraph
all(getattr(fullgraph, name) for name in fullgraph.__all__)
print(resident() - before, *{name.partition(".")[0] for name in set(sys.modules) - modules})
"""
HELP = """
import sys
from fullgraph.cli import main
try:
    main(["--help"])
except SystemExit as left:
    print(left.code, *{"torch", "torch_geometric", "numpy"} & set(sys.modules))
"""


def last_line(program: str) -> list[str]:
    """The words of the last line that a program prints, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].split()


def test_all_names_together_bring_no_library_and_few_bytes():
    grown, *modules = last_line(ALL_NAMES)
    assert set(modules) - sys.stdlib_module_names == {"fullgraph"}
    assert 0 < int(grown) < MOST_BYTES


def test_the_list_of_commands_needs_no_torch():
    assert last_line(HELP) == ["0"]
