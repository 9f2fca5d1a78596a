"""The writer: whole or not at all, the same bytes for the same graph, and never over something that is no graph."""

import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from fullgraph.errors import InputError
from fullgraph.graph import PartitionedGraph, write_partitioned
from fullgraph.graph import writer as writer_module
from tests.graph.samples import small_graph

PARTS = {"node": np.array([0, 0, 1, 1, 1, 0, 1])}


def write(path: Path, *, parts: dict[str, np.ndarray] = PARTS, num_parts: int = 2, overwrite: bool = False) -> None:
    write_partitioned(small_graph(), parts, path, num_parts=num_parts, method="random", seed=5, overwrite=overwrite)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            np.array([0, 0, 2, 2, 2, 2, 2]),
            "every part must own a node, ask for fewer parts or move a node there; empty part: 1",
        ),
        (np.array([0, 1, 2, 3, 0, 0, 0]), "parts of node type 'node' must be from 0 to 2: 3"),
        (np.array([0, 1, 2, -1, 0, 0, 0]), "parts of node type 'node' must be from 0 to 2: -1"),
        (
            np.array([0, 1, 2]),
            "part_of_node of node type 'node' must hold one whole number for each of 7 nodes: int64 [3]",
        ),
        (np.zeros(7), "part_of_node of node type 'node' must hold one whole number for each of 7 nodes: float64 [7]"),
    ],
)
def test_bad_parts(parts: np.ndarray, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        write(tmp_path / "g.fg", parts={"node": parts}, num_parts=3)
    assert str(caught.value) == message
    assert not list(tmp_path.iterdir())


def test_parts_of_a_type_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        write(tmp_path / "g.fg", parts={})
    assert str(caught.value) == "part_of_node must say the part of every node; it lacks the node type: 'node'"


def test_same_graph_same_checksum(tmp_path: Path) -> None:
    write(tmp_path / "a.fg")
    write(tmp_path / "deep" / "er" / "b.fg")
    one, other = PartitionedGraph.open(tmp_path / "a.fg"), PartitionedGraph.open(tmp_path / "deep" / "er" / "b.fg")
    assert one.checksum == other.checksum
    write(tmp_path / "c.fg", parts={"node": 1 - PARTS["node"]})
    assert PartitionedGraph.open(tmp_path / "c.fg").checksum != one.checksum


def test_an_existing_target_is_kept(tmp_path: Path) -> None:
    write(tmp_path / "g.fg")
    before = PartitionedGraph.open(tmp_path / "g.fg").checksum
    with pytest.raises(InputError) as caught:
        write(tmp_path / "g.fg", parts={"node": 1 - PARTS["node"]})
    assert str(caught.value) == (
        f"there is something at the target already; choose another path or pass overwrite: {tmp_path / 'g.fg'}"
    )
    assert PartitionedGraph.open(tmp_path / "g.fg").checksum == before


def test_overwrite_replaces_a_graph_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    write(tmp_path / "g.fg")
    before = PartitionedGraph.open(tmp_path / "g.fg").checksum
    write(tmp_path / "g.fg", parts={"node": 1 - PARTS["node"]}, overwrite=True)
    stored = PartitionedGraph.open(tmp_path / "g.fg")
    assert stored.checksum != before
    stored.read_part(0)
    assert [file.name for file in tmp_path.iterdir()] == ["g.fg"]


def test_overwrite_never_replaces_anything_else(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError) as caught:
        write(tmp_path / "home", overwrite=True)
    assert str(caught.value) == (
        f"only a partitioned graph is ever overwritten; remove what is there yourself: {tmp_path / 'home'}"
    )
    assert (tmp_path / "home" / "thesis.txt").read_text() == "years of work"
    with pytest.raises(InputError, match="only a partitioned graph is ever overwritten"):
        write(tmp_path / "home" / "thesis.txt", overwrite=True)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_writer_that_fails_leaves_nothing_new(
    tmp_path: Path, overwrite: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if overwrite:
        write(tmp_path / "g.fg")
    before = sorted(tmp_path.rglob("*"))

    def full_disk(path: Path, text: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer_module, "_write_text", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path / "g.fg", overwrite=overwrite)
    assert sorted(tmp_path.rglob("*")) == before


def _write_and_die(path: str, at_file: int, overwrite: bool) -> None:
    """Child process: SIGKILL itself when the given number of files are on disk."""
    written = 0
    real = os.fsync

    def fsync(descriptor: int) -> None:
        nonlocal written
        real(descriptor)
        written += 1
        if written == at_file:
            os.kill(os.getpid(), signal.SIGKILL)

    os.fsync = fsync
    write(Path(path), overwrite=overwrite)


@pytest.mark.parametrize("at_file", [1, 7, 13, 14, 16])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_killed_writer_leaves_nothing_that_opens(tmp_path: Path, at_file: int, overwrite: bool) -> None:
    if overwrite:
        write(tmp_path / "g.fg")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "torch_geometric", __name__])  # children start at once, not in seconds
    child = context.Process(target=_write_and_die, args=(str(tmp_path / "g.fg"), at_file, overwrite))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    if overwrite:
        PartitionedGraph.open(tmp_path / "g.fg").read_part(1)  # the old graph, untouched
    else:
        assert not (tmp_path / "g.fg").exists()
    write(tmp_path / "g.fg", overwrite=overwrite)  # and what the dead writer left is in nobody's way
    PartitionedGraph.open(tmp_path / "g.fg").read_part(1)


def test_a_target_that_appears_meanwhile_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = writer_module._write_text

    def slow(path: Path, text: str) -> None:
        real(path, text)
        (tmp_path / "g.fg").mkdir()
        (tmp_path / "g.fg" / "other").touch()

    monkeypatch.setattr(writer_module, "_write_text", slow)
    with pytest.raises(InputError) as caught:
        write(tmp_path / "g.fg")
    assert str(caught.value) == (
        f"the target appeared while the graph was being written; choose another path: {tmp_path / 'g.fg'}"
    )
    assert [file.name for file in tmp_path.iterdir()] == ["g.fg"]
    assert [file.name for file in (tmp_path / "g.fg").iterdir()] == ["other"]
