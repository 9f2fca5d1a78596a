"""Whether the wheel keeps the laws on other versions of torch and PyG than the one that CI runs on.

``python -m tests.versions dist/*.whl --torch 2.13.0 2.14.1 --pyg 2.8.1`` makes an environment for each torch, installs
the wheel as a user would, and runs a part of the tests and a command line there. pip's own variables say from where
(``PIP_INDEX_URL``, ``PIP_FIND_LINKS``): the default index has builds of gigabytes for GPUs.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
LAWS = (
    "tests/engine/test_torch_private.py",
    "tests/equivalence/test_precisions.py",
    "tests/pyg/test_prepare.py",
    "tests/pyg/test_models.py",
    "tests/rows/test_compiling.py",
)
TOOLS = ("pytest", "pytest-timeout", "hypothesis", "psutil")
TRAIN = "fullgraph train karate --num-ranks 2 --epochs 2 --run run"


def fault(torch: str, pyg: str, wheel: Path, folder: Path) -> str | None:
    """The command that fails in a new environment of these versions, with the last it said; None if all is well."""
    venv.create(folder, with_pip=True)
    environment = {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": ""}
    commands = [
        (f"pip install --quiet torch=={torch}", folder),
        (f"pip install --quiet torch_geometric=={pyg} {wheel}[cli] {' '.join(TOOLS)}", folder),
        (TRAIN, folder),
        (f"python -m pytest -q -p no:cacheprovider {' '.join(LAWS)}", ROOT),
    ]
    for command, where in commands:
        done = subprocess.run(command.split(), cwd=where, env=environment, capture_output=True, text=True)
        if done.returncode:
            return f"{command}\n{(done.stdout + done.stderr)[-2000:]}"
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--torch", nargs="+", default=["2.13.0"])
    parser.add_argument("--pyg", default="2.8.*")
    given = parser.parse_args()
    faults = {}
    for torch in given.torch:
        with tempfile.TemporaryDirectory() as folder:
            faults[torch] = fault(torch, given.pyg, given.wheel.resolve(), Path(folder))
        print(f"torch {torch}, PyG {given.pyg}: {faults[torch] or 'passed'}", flush=True)
    sys.exit(any(faults.values()))


if __name__ == "__main__":
    main()
