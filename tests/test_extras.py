"""What an extra brings and is not installed is named with the line that installs it, by Python and by the command."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from fullgraph.cli.info import info
from fullgraph.datasets import load
from fullgraph.errors import InputError, MissingExtra
from fullgraph.pyg.partition import partition
from fullgraph.train import TrainConfig
from fullgraph.train.metrics import TensorBoard
from tests.docs.pages import ROOT

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
WITHOUT = """
import sys
sys.modules[sys.argv.pop(1)] = None
from fullgraph.__main__ import main
main()
"""


def table(folder: Path) -> None:
    path = folder / "edges.csv"
    path.write_text("src,dst\n0,1\n")
    load(path)


def plot(folder: Path) -> None:
    partition(load("karate"), folder / "karate.fg", num_parts=1)
    info(folder / "karate.fg", plot=folder / "parts.png", quiet=True, as_json=False)


def events(folder: Path) -> None:
    TensorBoard(folder).begin(TrainConfig(), 0)


@pytest.mark.parametrize(
    ("library", "extra", "use"),
    [
        ("pyarrow", "parquet", table),
        ("matplotlib.figure", "plots", plot),
        ("tensorboard", "cli", events),
        ("sklearn.datasets", "cli", lambda _: load("digits")),
        ("ogb.nodeproppred", "ogb", lambda folder: load("ogbn-arxiv", root=folder)),
    ],
)
def test_the_line_that_installs_it_is_named(library, extra, use, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, name)  # which would not import it again
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtra, match=re.escape(f"type: pip install 'fullgraph[{extra}]': {library}")) as caught:
        use(tmp_path)
    assert isinstance(caught.value, InputError)
    assert extra in EXTRAS


@pytest.mark.parametrize("library", ["typer", "rich"])
def test_the_command_without_its_extra(library):
    words = [sys.executable, "-c", WITHOUT, library, "--help"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    expected = (
        "MissingExtra: the command line needs a library that is not installed; type: pip install 'fullgraph[cli]'"
    )
    assert done.stderr == f"{expected}: {library}\n"
