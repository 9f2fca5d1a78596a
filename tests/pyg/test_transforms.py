"""Edges and nodes are dropped alike on any number of ranks; PyG's functions on an index are exact or say no."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch_geometric import nn as pyg
from torch_geometric import utils
from torch_geometric.data import Data

import fullgraph as fg
from fullgraph.errors import InputError, UnsupportedOperation
from tests.equivalence.cases import GRAPHS
from tests.equivalence.graphs import NUM_CLASSES, NUM_FEATURES, NUM_NODES
from tests.ranks import run_ranks

RANKS = (1, 2, 3, 4)


def symmetric() -> Data:
    g = GRAPHS["awkward"]()
    g.edge_index = torch.cat([g.edge_index, g.edge_index.flip(0)], dim=1)
    for name in ("edge_weight", "edge_attr", "edge_type"):
        g[name] = torch.cat([g[name], g[name]])
    g.edge_ids = torch.arange(g.num_edges)
    return g


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("graphs")
    fg.partition(GRAPHS["awkward"](), folder / "directed.fg", num_parts=4)
    fg.partition(symmetric(), folder / "undirected.fg", num_parts=4)
    return {name: str(folder / f"{name}.fg") for name in ("directed", "undirected")}


def drops(world: fg.World, path: str, both: bool):
    """Original positions of the edges that are left after a few draws, of two steps."""
    data = fg.open(path, world)
    edges, nodes = [], []
    for _ in range(2):
        kept, chosen = fg.transforms.dropout_edge(data.edge_index, p=0.3, force_undirected=both)
        assert torch.equal(kept.plain, data.edge_index.plain[:, chosen])
        edges.append(data.edge_ids[chosen])
        kept, chosen, left = fg.transforms.dropout_node(data.edge_index, p=0.3)
        assert torch.equal(kept.plain, data.edge_index.plain[:, chosen])
        edges.append(data.edge_ids[chosen])
        nodes.append(data.node_ids[left])
        fg.transforms.dropout_edge(data.edge_index, p=0.3, training=False)  # draws nothing
        data.randomness.next_step()
    return edges, nodes


def of_all_ranks(answers) -> tuple[list[list[int]], list[list[int]]]:
    edges, nodes = zip(*answers, strict=True)
    return joined(edges), joined(nodes)


def joined(lists) -> list[list[int]]:
    return [sorted(torch.cat(shares).tolist()) for shares in zip(*lists, strict=True)]


@pytest.mark.parametrize("both", [False, True], ids=["each edge", "both directions"])
def test_the_same_edges_and_nodes_are_dropped_on_any_number_of_ranks(paths, both):
    g = symmetric()
    wanted_edges, wanted_nodes = of_all_ranks(run_ranks(1, drops, paths["undirected"], both))
    for num_ranks in RANKS[1:]:
        assert of_all_ranks(run_ranks(num_ranks, drops, paths["undirected"], both)) == (wanted_edges, wanted_nodes)
    first, by_node, second, _ = wanted_edges
    assert first != second
    assert 0.6 < len(first) / g.num_edges < 0.8
    src, dst = g.edge_index
    left = torch.zeros(NUM_NODES, dtype=torch.bool)
    left[wanted_nodes[0]] = True
    assert by_node == (left[src] & left[dst]).nonzero().view(-1).tolist()
    assert 0.5 < float(left.double().mean()) < 0.9
    kept = g.edge_index[:, first]
    assert utils.is_undirected(kept) == both


def curve(world: fg.World, path: str):
    data = fg.open(path, world, chunk_edges=60)
    torch.manual_seed(0)
    model = torch.nn.ModuleList(
        [pyg.GCNConv(NUM_FEATURES, 8), pyg.GATConv(8, 8), pyg.EdgeConv(torch.nn.Linear(16, NUM_CLASSES))]
    ).double()
    torch.manual_seed(world.rank)
    fg.prepare(model, optimizer := torch.optim.SGD(model.parameters(), lr=0.05), data, seed=1)
    losses = []
    for _ in range(4):
        optimizer.zero_grad()
        edge_index, chosen = fg.transforms.dropout_edge(data.edge_index, p=0.4)
        hidden = model[0](data.x, edge_index, data.edge_weight[chosen]).relu()
        hidden = model[1](hidden, edge_index)
        edge_index, _, left = fg.transforms.dropout_node(data.edge_index, p=0.2)
        out = model[2](hidden, edge_index)
        loss = fg.mean_loss(F.cross_entropy, out, data.y, data.train_mask & left, data)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def test_training_on_what_is_left_gives_the_same_curve(paths):
    (wanted,) = run_ranks(1, curve, paths["directed"])
    assert len(set(wanted)) == 4
    for num_ranks in RANKS[1:]:
        for losses in run_ranks(num_ranks, curve, paths["directed"]):
            assert losses == pytest.approx(wanted, rel=1e-9)


def test_a_dropped_graph_is_the_graph_without_these_edges(paths):
    data, g = fg.open(paths["directed"]), GRAPHS["awkward"]()
    kept, chosen = fg.transforms.dropout_edge(data.edge_index, p=0.5)
    conv = pyg.GCNConv(NUM_FEATURES, 4).double()
    left = torch.zeros(g.num_edges, dtype=torch.bool)
    left[data.edge_ids[chosen]] = True
    wanted = conv(g.x, g.edge_index[:, left], g.edge_weight[left])
    got = fg.convert(conv, data)(data.x, kept, data.edge_weight[chosen])
    torch.testing.assert_close(fg.gather_rows(got, data), wanted.detach(), rtol=1e-9, atol=1e-9)


def questions(world: fg.World, directed: str, undirected: str):
    answers = []
    for path in (directed, undirected):
        index = fg.open(path, world).edge_index
        answers += [fg.transforms.is_undirected(index), fg.transforms.contains_self_loops(index)]
    return [*answers, fg.transforms.contains_self_loops(index.without_self_loops)]


def test_questions_are_about_all_ranks(paths):
    for num_ranks in RANKS:
        for answers in run_ranks(num_ranks, questions, paths["directed"], paths["undirected"]):
            assert answers == [False, True, True, True, False]


def test_on_an_ordinary_index_they_are_those_of_pyg():
    g = GRAPHS["awkward"]()
    for name, arguments in (("dropout_edge", (0.4, True)), ("dropout_node", (0.4,))):
        torch.manual_seed(0)
        wanted = getattr(utils, name)(g.edge_index, *arguments)
        torch.manual_seed(0)
        assert all(map(torch.equal, getattr(fg.transforms, name)(g.edge_index, *arguments), wanted))
    assert fg.transforms.is_undirected(symmetric().edge_index)
    assert fg.transforms.contains_self_loops(g.edge_index)


def test_bad_arguments(paths):
    data = fg.open(paths["directed"])
    with pytest.raises(InputError, match=r"^the probability of dropping must be from 0 to 1: 1.5$"):
        fg.transforms.dropout_edge(data.edge_index, p=1.5)
    appended = torch.cat([data.edge_index, torch.tensor([[0], [1]])], dim=1)
    with pytest.raises(UnsupportedOperation, match=r"^edges are dropped by where they stand .* with edges: 331$"):
        fg.transforms.dropout_edge(appended)
    assert fg.transforms.dropout_edge(data.edge_index, p=1.0)[0].size(1) == 0


# What PyG's functions give on the whole graph: edges as sorted (source, destination, value), or a row per node.
def _edges(g: Data, index: Any, values: torch.Tensor) -> torch.Tensor:
    ids = g.node_ids if "node_ids" in g else torch.arange(NUM_NODES)
    return torch.stack([ids[index[0]].double(), ids[index[1]].double(), values.double()], dim=1)


EXACT: dict[str, Callable[[Data], torch.Tensor]] = {
    "add_self_loops": lambda g: _edges(g, *utils.add_self_loops(g.edge_index, g.edge_weight, num_nodes=g.num_nodes)),
    "add_self_loops, means": lambda g: _edges(
        g, *utils.add_self_loops(g.edge_index, g.edge_weight, fill_value="mean", num_nodes=g.num_nodes)
    ),
    "add_remaining_self_loops": lambda g: _edges(
        g, *utils.add_remaining_self_loops(g.edge_index, g.edge_weight, num_nodes=g.num_nodes)
    ),
    "remove_self_loops": lambda g: _edges(g, *utils.remove_self_loops(g.edge_index, g.edge_weight)),
    "get_laplacian": lambda g: _edges(
        g, *utils.get_laplacian(g.edge_index, g.edge_weight, "sym", num_nodes=g.num_nodes)
    ),
    "get_laplacian, rw": lambda g: _edges(
        g, *utils.get_laplacian(g.edge_index, g.edge_weight, "rw", num_nodes=g.num_nodes)
    ),
    "subgraph": lambda g: _edges(g, *utils.subgraph(g.train_mask, g.edge_index, g.edge_weight)),
    "dropout_edge, evaluation": lambda g: _edges(g, utils.dropout_edge(g.edge_index, training=False)[0], g.edge_weight),
    "degree of destinations": lambda g: utils.degree(g.edge_index[1], g.num_nodes),
    "degree of sources": lambda g: utils.degree(g.edge_index[0], g.num_nodes),
    "get_self_loop_attr": lambda g: utils.get_self_loop_attr(g.edge_index, g.edge_weight, g.num_nodes),
    "softmax": lambda g: utils.scatter(
        utils.softmax(g.edge_weight, g.edge_index[1], num_nodes=g.num_nodes) * g.edge_weight,
        g.edge_index[1],
        dim_size=g.num_nodes,
    ),
    "scatter to sources": lambda g: utils.scatter(g.edge_weight, g.edge_index[0], dim_size=g.num_nodes, reduce="mean"),
}


def exact_on_a_rank(world: fg.World, path: str):
    data = fg.open(path, world)
    answers = {name: compute(data) for name, compute in EXACT.items()}
    return {name: fg.gather_rows(a, data) if a.dim() == 1 else a for name, a in answers.items()}


def _sorted(edges: torch.Tensor) -> torch.Tensor:
    return torch.tensor(sorted(edges.tolist()))


def test_functions_of_pyg_that_keep_their_meaning(paths):
    wanted = {name: compute(GRAPHS["awkward"]()) for name, compute in EXACT.items()}
    for num_ranks in RANKS:
        answers = run_ranks(num_ranks, exact_on_a_rank, paths["directed"])
        for name, want in wanted.items():
            if want.dim() == 1:
                torch.testing.assert_close(answers[0][name], want, rtol=1e-9, atol=1e-12)
            else:
                got = torch.cat([answer[name] for answer in answers])
                torch.testing.assert_close(_sorted(got), _sorted(want), rtol=1e-9, atol=1e-12)


REFUSED: dict[str, tuple[Callable[[Data], Any], str]] = {
    "dropout_edge": (lambda g: utils.dropout_edge(g.edge_index), r"use fullgraph.transforms.dropout_edge, or call"),
    "dropout_edge, both": (
        lambda g: utils.dropout_edge(g.edge_index, force_undirected=True),
        r"instead of dropout_edge, use fullgraph.transforms.dropout_edge",
    ),
    "dropout_node": (lambda g: utils.dropout_node(g.edge_index), r"use fullgraph.transforms.dropout_node, or call"),
    "is_undirected": (lambda g: utils.is_undirected(g.edge_index), r"use fullgraph.transforms.is_undirected"),
    "contains_self_loops": (
        lambda g: utils.contains_self_loops(g.edge_index),
        r"use fullgraph.transforms.contains_self_loops",
    ),
    "to_undirected": (lambda g: utils.to_undirected(g.edge_index), r"instead of to_undirected, apply it to the whole"),
    "coalesce": (lambda g: utils.coalesce(g.edge_index), r"instead of coalesce, apply it to the whole graph before"),
    "homophily": (lambda g: utils.homophily(g.edge_index, g.y), r"apply it to the whole graph before"),
    "negative_sampling": (lambda g: utils.negative_sampling(g.edge_index), r"partition them with it as edges of a"),
    "sort_edge_index": (lambda g: utils.sort_edge_index(g.edge_index), r"compute it on the whole graph before"),
    "to_dense_adj": (lambda g: utils.to_dense_adj(g.edge_index), r"compute it on the whole graph before"),
    "k_hop_subgraph": (lambda g: utils.k_hop_subgraph(0, 2, g.edge_index), r"compute it on the whole graph before"),
    "to_torch_csr_tensor": (
        lambda g: utils.to_torch_csr_tensor(g.edge_index),
        r"apply it to the whole graph before you partition it",
    ),
}


def refused_on_a_rank(world: fg.World, path: str):
    data = fg.open(path, world)
    texts = {}
    for name, (call, _) in REFUSED.items():
        with pytest.raises(UnsupportedOperation) as raised:
            call(data)
        texts[name] = str(raised.value)
    return texts


@pytest.mark.parametrize("num_ranks", [1, 2])
def test_functions_of_pyg_that_would_be_wrong_name_what_to_use(paths, num_ranks):
    for texts in run_ranks(num_ranks, refused_on_a_rank, paths["directed"]):
        for name, text in texts.items():
            assert REFUSED[name][1] in text, (name, text)
