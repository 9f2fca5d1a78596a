"""Opening a graph: what a rank gets, and what every rank is told when something does not fit."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch_geometric.data import Data, HeteroData

import fullgraph as fg
from fullgraph.errors import FullgraphError, GraphMismatch, InputError
from fullgraph.pyg.data.graph import rank_graph
from fullgraph.rows import Rows, local
from tests.equivalence.graphs import NUM_CLASSES, NUM_FEATURES, NUM_NODES, awkward_graph
from tests.equivalence.hetero import RELATIONS, SIZES, awkward_hetero
from tests.ranks import run_ranks

GRAPHS = {"one type": awkward_graph, "several types": awkward_hetero}


def contents(data: Data | HeteroData) -> dict[Any, Any]:
    """Every tensor, with all rows, and every number."""
    return {
        (store._key, name): fg.gather(value) if isinstance(value, torch.Tensor) else value
        for store in data.stores
        for name, value in store.items()
        if name not in ("num_nodes", "num_classes")
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("graphs")
    for name, make in GRAPHS.items():
        fg.partition(make(), folder / f"{name}.fg", num_parts=5)
    return folder


def opened(world: fg.World, graph: Any):
    """The whole graph, and how many rows of each kind are here."""
    data = fg.open(graph, world)
    assert isinstance(data, Data if isinstance(data.edge_stores[0]._key, type(None)) else HeteroData)
    for store in data.stores:
        for value in store.values():
            assert not isinstance(value, torch.Tensor) or isinstance(value, Rows)
    own = {
        (store._key, name): local(value).shape[value._dim]
        for store in data.stores
        for name, value in store.items()
        if isinstance(value, Rows)
    }
    return contents(data), own, {store._key: store.num_nodes + 0 for store in data.node_stores}


@pytest.mark.parametrize("source", ["disk", "memory"])
@pytest.mark.parametrize("name", GRAPHS)
def test_every_rank_sees_the_whole_graph_and_holds_its_rows(folder, name, source):
    whole = GRAPHS[name]()
    wanted = contents(whole)
    for num_ranks in (1, 2, 5):
        answers = run_ranks(num_ranks, opened, str(folder / f"{name}.fg") if source == "disk" else whole)
        for found, _, counts in answers:
            torch.testing.assert_close(found, wanted, rtol=0, atol=0)
            assert counts == {store._key: store.num_nodes for store in whole.node_stores}
        for key, value in wanted.items():
            assert sum(own[key] for _, own, _ in answers) == value.shape[1 if key[1] == "edge_index" else 0], key
    if name == "several types":
        assert any(own["venue", "x"] == 0 for _, own, _ in answers), "3 venues on 5 ranks"


def test_what_pyg_says_of_it_is_true_of_the_whole_graph(folder):
    whole, data = awkward_graph(), fg.open(awkward_graph())
    for name in ("num_nodes", "num_edges", "num_features", "num_edge_features", "keys"):
        found, wanted = getattr(data, name), getattr(whole, name)
        assert (
            (sorted(found()) == sorted([*wanted(), "num_nodes", "num_classes"])) if name == "keys" else found == wanted
        )
    assert data.num_classes == NUM_CLASSES
    assert data.x.shape == (NUM_NODES, NUM_FEATURES)
    assert data.has_self_loops()
    assert data.has_isolated_nodes()
    assert data.is_directed()
    typed = fg.open(awkward_hetero())
    assert typed.metadata() == (list(SIZES), RELATIONS)
    assert {kind: typed[kind].num_nodes for kind in SIZES} == SIZES
    assert typed["paper"].num_classes == 4


def test_a_graph_in_memory_stays_as_it_is_and_keeps_its_order():
    whole = awkward_graph()
    data = fg.open(whole)
    assert type(whole.x) is torch.Tensor
    assert torch.equal(local(data.edge_index), whole.edge_index)
    assert torch.equal(local(data.x), whole.x)
    data.x.zero_()
    assert whole.x.abs().sum() > 0
    assert rank_graph(data).checksum is None


def refusal(world: fg.World, graph: Any, options: dict):
    try:
        fg.open(graph, world, **options)
    except FullgraphError as error:
        return type(error).__name__, str(error)


def test_more_ranks_than_parts(tmp_path):
    path = str(tmp_path / "two.fg")
    fg.partition(awkward_graph(), path, num_parts=2)
    message = (
        "the graph has 2 parts but this run has 3 ranks; start at most 2 ranks, "
        f"or `fullgraph partition … --num-parts 3`: {path}"
    )
    assert run_ranks(3, refusal, path, {}) == [("GraphMismatch", message)] * 3


def test_a_missing_graph_is_the_same_error_everywhere(tmp_path):
    path = str(tmp_path / "none.fg")
    message = f"no such folder; make it with `fullgraph partition`: {path}"
    assert run_ranks(2, refusal, path, {}) == [("GraphFormatError", message)] * 2


def test_a_file_broken_on_one_rank_is_that_ranks_error_everywhere(folder, tmp_path):
    broken = Path(shutil.copytree(folder / "one type.fg", tmp_path / "broken.fg"))
    file = broken / "part-00004" / "nodes" / "node" / "x.npy"
    file.write_bytes(file.read_bytes()[:-8])
    first, second = run_ranks(2, refusal, str(broken), {})
    assert first == second
    assert first[0] == "GraphFormatError"
    assert first[1].startswith("rank 1: the file has ")
    assert first[1].endswith(
        f"truncated or not of this graph; copy the graph again or partition the graph again: {file}"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "fast"}, "mode must be one of sar, keep, halo: 'fast'"),
        ({"prefetch": -1}, "prefetch must be 0 or more rounds: -1"),
        ({"round_rows": 0}, "round_rows must be at least 1 row: 0"),
        ({"held_mib": -1}, "held_mib must be 0 or more MiB: -1"),
    ],
)
def test_wrong_settings(options, message):
    assert run_ranks(2, refusal, awkward_graph(), options) == [("InputError", message)] * 2


def different(world: fg.World, what: str):
    graph = awkward_graph()
    if what == "graph" and world.rank == 1:
        graph.edge_index = graph.edge_index[:, 1:]
        graph.edge_weight = graph.edge_attr = None
    return refusal(world, graph, {"prefetch": world.rank if what == "settings" else 1})


@pytest.mark.parametrize("what", ["settings", "graph"])
def test_ranks_with_different_settings_or_graphs_are_told(what):
    first, second = run_ranks(2, different, what)
    assert first == second
    assert first[0] == "GraphMismatch"
    assert first[1].startswith("all ranks must use the same graph and settings; rank 0 has (")


def test_manifest_of_a_future_version(folder, tmp_path):
    copy = Path(shutil.copytree(folder / "one type.fg", tmp_path / "future.fg"))
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["format_version"] = 99
    (copy / "manifest.json").write_text(json.dumps(manifest))
    kind, message = refusal(fg.World(), str(copy), {})
    assert kind == "GraphFormatError"
    assert "99" in message


def test_a_graph_without_any_relation(tmp_path):
    data = HeteroData()
    data["user"].x = torch.randn(5, 2)
    fg.partition(data, tmp_path / "users.fg", num_parts=1)
    for graph in (tmp_path / "users.fg", data):
        with pytest.raises(GraphMismatch, match=r"^the graph has no relation, so there is nothing to pass messages"):
            fg.open(graph)


def test_what_is_no_graph():
    with pytest.raises(InputError, match=r"a PyG Data or HeteroData or a fullgraph Graph: int$"):
        fg.open(3)
