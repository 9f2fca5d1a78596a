"""Damage to a graph on disk is found before a number of it is used, and the message names the file."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fullgraph.errors import GraphFormatError, InputError
from fullgraph.graph import PartitionedGraph, write_partitioned
from fullgraph.graph.checksum import checksum_of_file
from tests.graph.samples import small_graph

X = "part-00001/nodes/node/x.npy"
SRC = "part-00000/edges/node__to__node/src.npy"
INDPTR = "part-00000/edges/node__to__node/indptr.npy"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    parts = {"node": np.array([0, 0, 1, 1, 1, 0, 1])}
    write_partitioned(small_graph(), parts, tmp_path / "g.fg", num_parts=2, method="random", seed=0)
    return tmp_path / "g.fg"


def edit_manifest(path: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads((path / "manifest.json").read_text())
    edit(content)
    (path / "manifest.json").write_text(json.dumps(content))


def replace_array(path: Path, name: str, array: np.ndarray) -> None:
    """Put another array in a file's place and make the manifest agree: what a faulty writer would do."""
    np.save(path / name, array)

    def edit(content: dict[str, Any]) -> None:
        part = int(name[5:10])
        entry = content["parts"][part]["files"][name]
        entry["num_bytes"], entry["checksum"] = (path / name).stat().st_size, checksum_of_file(path / name)

    edit_manifest(path, edit)


def message_of_open(path: Path) -> str:
    with pytest.raises(GraphFormatError) as caught:
        PartitionedGraph.open(path)
    return str(caught.value)


def message_of_read(path: Path) -> str:
    stored = PartitionedGraph.open(path)
    with pytest.raises(GraphFormatError) as caught:
        list(map(stored.read_part, range(stored.num_parts)))
    return str(caught.value)


def test_no_folder(tmp_path: Path) -> None:
    expected = f"no such folder; make it with `fullgraph partition`: {tmp_path / 'x.fg'}"
    assert message_of_open(tmp_path / "x.fg") == expected


def test_not_a_graph(tmp_path: Path) -> None:
    expected = "this is no partitioned graph, which is a folder with a manifest.json: "
    assert message_of_open(tmp_path) == f"{expected}{tmp_path}"
    (tmp_path / "file").touch()
    assert message_of_open(tmp_path / "file") == f"{expected}{tmp_path / 'file'}"


def test_a_manifest_of_something_else(path: Path) -> None:
    (path / "manifest.json").write_text('{"name": "my web app"}')
    assert message_of_open(path) == (
        "the manifest does not say format 'fullgraph-partitioned-graph', this is no partitioned graph: "
        f"{path / 'manifest.json'}"
    )


def test_a_truncated_manifest(path: Path) -> None:
    text = (path / "manifest.json").read_text()
    (path / "manifest.json").write_text(text[:100])
    message = message_of_open(path)
    assert message.startswith("the manifest is not JSON (")
    assert message.endswith(f"); partition the graph again: {path / 'manifest.json'}")
    (path / "manifest.json").write_bytes(b"\xff\xfe")
    assert message_of_open(path) == f"the manifest is not UTF-8; partition the graph again: {path / 'manifest.json'}"


def test_another_version(path: Path) -> None:
    edit_manifest(path, lambda content: content.update(format_version=2))
    assert message_of_open(path) == (
        "the graph has format version 2 but this fullgraph reads version 1; partition it again with this fullgraph, "
        f"or install the one that wrote it: {path / 'manifest.json'}"
    )


MANIFEST_EDITS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "duplicate part": (
        lambda content: content["parts"].append(content["parts"][0]),
        "the manifest lists part 0 more than once; partition the graph again",
    ),
    "missing part": (
        lambda content: content["parts"].pop(),
        "the manifest says 2 parts but does not list part 1; partition the graph again",
    ),
    "part too many": (
        lambda content: content["parts"].append({"part": 7, "files": {}}),
        "the manifest says 2 parts but lists part 7; partition the graph again",
    ),
    "missing key": (
        lambda content: content.pop("node_types"),
        "the manifest has no 'node_types'; partition the graph again",
    ),
    "wrong kind": (
        lambda content: content["node_types"][0].update(offsets=7),
        "the manifest has a wrong entry ('int' object is not iterable); partition the graph again",
    ),
    "another checksum": (
        lambda content: content.update(checksum="md5"),
        "the manifest must use checksum 'blake2b-128', not 'md5'",
    ),
    "no node type": (
        lambda content: content.update(node_types=[]),
        "the manifest contradicts itself: it has no node type; partition the graph again",
    ),
    "falling offsets": (
        lambda content: content["node_types"][0].update(offsets=[0, 9, 7]),
        "the manifest contradicts itself: the offsets of node type 'node' fall; partition the graph again",
    ),
    "offsets of other parts": (
        lambda content: content["node_types"][0].update(offsets=[0, 7]),
        "the manifest contradicts itself: node type 'node' has offsets for other parts; partition the graph again",
    ),
    "offsets from elsewhere": (
        lambda content: content["node_types"][0].update(offsets=[1, 3, 7]),
        "the manifest contradicts itself: the offsets of node type 'node' do not start at 0; partition the graph again",
    ),
    "edges of other parts": (
        lambda content: content["relations"][0].update(num_edges=[11]),
        (
            "the manifest contradicts itself: relation ('node', 'to', 'node') counts edges of other parts; "
            "partition the graph again"
        ),
    ),
    "negative edges": (
        lambda content: content["relations"][0].update(num_edges=[12, -1]),
        (
            "the manifest contradicts itself: relation ('node', 'to', 'node') counts fewer than 0 edges; "
            "partition the graph again"
        ),
    ),
    "unknown end": (
        lambda content: content["relations"][0].update(source="paper"),
        (
            "the manifest contradicts itself: relation ('paper', 'to', 'node') joins an unknown node type; "
            "partition the graph again"
        ),
    ),
    "no part": (
        lambda content: content.update(num_parts=0, parts=[]),
        "the manifest contradicts itself: it has no part; partition the graph again",
    ),
}


@pytest.mark.parametrize("case", MANIFEST_EDITS)
def test_a_manifest_that_cannot_be(case: str, path: Path) -> None:
    edit, message = MANIFEST_EDITS[case]
    edit_manifest(path, edit)
    assert message_of_open(path) == f"{message}: {path / 'manifest.json'}"


def test_a_missing_part_folder(path: Path) -> None:
    shutil.rmtree(path / "part-00001")
    assert message_of_read(path) == (
        "a file of part 1 is missing; copy the graph again or partition the graph again: "
        f"{path / 'part-00001/nodes/node/ids.npy'}"
    )


def test_a_missing_file_in_the_manifest(path: Path) -> None:
    edit_manifest(path, lambda content: content["parts"][1]["files"].pop(X))
    assert message_of_read(path) == (
        f"the manifest does not list a file of part 1; partition the graph again: {path / X}"
    )


def test_a_truncated_array(path: Path) -> None:
    content = (path / X).read_bytes()
    (path / X).write_bytes(content[:-3])
    assert message_of_read(path) == (
        f"the file has {len(content) - 3} bytes but the manifest says {len(content)}, it is truncated or not of this "
        f"graph; copy the graph again or partition the graph again: {path / X}"
    )


@pytest.mark.parametrize("at", [10, -1])
def test_a_flipped_bit(at: int, path: Path) -> None:
    content = bytearray((path / X).read_bytes())
    content[at] ^= 1
    (path / X).write_bytes(content)
    assert message_of_read(path) == (
        "the file does not match its checksum, it is corrupted; copy the graph again or partition the graph again: "
        f"{path / X}"
    )


def test_too_few_rows(path: Path) -> None:
    replace_array(path, X, np.zeros((3, 2), np.float32))
    assert message_of_read(path) == f"x has 3 rows but part 1 owns 4 nodes: {path / X}"


@pytest.mark.parametrize("array", [np.zeros((4, 2), np.float64), np.zeros((4, 3), np.float32)])
def test_wrong_dtype_or_row(array: np.ndarray, path: Path) -> None:
    replace_array(path, X, array)
    assert message_of_read(path) == (
        f"x must be float32 with rows of shape [2], not {array.dtype} with rows of shape [{array.shape[1]}]: {path / X}"
    )


def test_a_pickle_is_never_loaded(path: Path) -> None:
    replace_array(path, X, np.array([{"run": "code"}] * 4))
    message = message_of_read(path)
    assert message.startswith("the file is no .npy array (")
    assert message.endswith(f"); partition the graph again: {path / X}")


def test_sources_that_are_no_nodes(path: Path) -> None:
    stored = PartitionedGraph.open(path)
    for wrong in (7, -1):
        src = stored.read_part(0).edges[("node", "to", "node")].src.copy()
        src[0] = wrong
        replace_array(path, SRC, src)
        assert message_of_read(path) == f"sources must be from 0 to 6: {path / SRC}"
        stored = PartitionedGraph.open(path)
        replace_array(path, SRC, np.zeros_like(src))
        stored = PartitionedGraph.open(path)


def test_an_indptr_that_falls(path: Path) -> None:
    indptr = PartitionedGraph.open(path).read_part(0).edges[("node", "to", "node")].indptr.copy()
    num_edges = indptr[-1]
    indptr[1] = num_edges + 1
    replace_array(path, INDPTR, indptr)
    assert message_of_read(path) == f"indptr must rise from 0 to {num_edges}: {path / INDPTR}"


def test_no_such_part(path: Path) -> None:
    for part in (-1, 2):
        with pytest.raises(InputError) as caught:
            PartitionedGraph.open(path).read_part(part)
        assert str(caught.value) == f"{path} has the parts 0 to 1: {part}"
