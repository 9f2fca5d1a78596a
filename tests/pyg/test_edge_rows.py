"""An ``edge_index`` that takes no memory gives what a whole one gives, in its order, whatever a program does to it."""

import copy
from typing import Any

import pytest
import torch
from torch_geometric import utils
from torch_geometric.data import Data
from torch_geometric.nn import GraphConv

import fullgraph as fg
from fullgraph.pyg.data.edge_index import EdgeRows, EndRows
from tests.equivalence.graphs import NUM_FEATURES, NUM_NODES, awkward_graph
from tests.ranks import run_ranks


def graph() -> Data:
    g = awkward_graph()
    g.edge_type = torch.randint(0, 3, (g.num_edges,), generator=torch.Generator().manual_seed(2))
    return g


LAZY = {
    "itself": lambda g: g.edge_index,
    "a copy": lambda g: g.edge_index.clone().contiguous().to(torch.int64).detach(),
    "a deep copy": lambda g: copy.deepcopy(g.edge_index),
    "sources": lambda g: g.edge_index[0],
    "destinations": lambda g: g.edge_index.select(0, 1),
    "both ends": lambda g: list(g.edge_index),
    "unbound": lambda g: g.edge_index.unbind(0),
    "a mask": lambda g: g.edge_index[:, g.edge_type == 1],
    "a mask of one end": lambda g: g.edge_index[0, g.edge_weight > 0.5],
    "a mask everywhere": lambda g: g.edge_index[:, torch.arange(g.num_edges) % 3 == 0],
    "a slice": lambda g: g.edge_index[:, 10:200:3],
    "ids": lambda g: g.edge_index[:, torch.tensor([5, 3, 300, 3, -1])],
    "selected": lambda g: g.edge_index.index_select(1, torch.tensor([7, 2])),
    "flipped": lambda g: g.edge_index.flip(0),
    "flipped by a list": lambda g: g.edge_index[[1, 0]],
    "a flipped choice": lambda g: g.edge_index[:, g.edge_type > 0].flip([0])[1],
    "remove_self_loops": lambda g: utils.remove_self_loops(g.edge_index)[0],
    "add_self_loops": lambda g: utils.add_self_loops(g.edge_index, num_nodes=g.num_nodes)[0],
    "add_remaining_self_loops": lambda g: utils.add_remaining_self_loops(g.edge_index, num_nodes=g.num_nodes)[0],
    "loops of chosen edges": lambda g: utils.add_self_loops(g.edge_index[:, g.edge_type == 0], num_nodes=g.num_nodes)[
        0
    ],
    "two choices": lambda g: torch.cat([g.edge_index[:, g.edge_type == 2], g.edge_index[:, g.edge_type == 0]], dim=1),
    "dropout_edge, evaluation": lambda g: utils.dropout_edge(g.edge_index, training=False)[0],
    "subgraph": lambda g: utils.subgraph(g.train_mask, g.edge_index)[0],
}
READ = {
    "more edges": lambda g: torch.cat([g.edge_index, torch.tensor([[0, 4], [1, 66]])], dim=1),
    "arithmetic": lambda g: g.edge_index[0] * 100 + g.edge_index[1],
    "loops with values": lambda g: utils.add_remaining_self_loops(g.edge_index, g.edge_weight, 2.0, g.num_nodes),
    "loops with means": lambda g: utils.add_self_loops(g.edge_index, g.edge_attr, "mean", g.num_nodes),
    "laplacian": lambda g: utils.get_laplacian(g.edge_index, g.edge_weight, "sym", num_nodes=g.num_nodes),
    "subgraph": lambda g: utils.subgraph(g.train_mask, g.edge_index, g.edge_weight, relabel_nodes=True, num_nodes=67),
    "degrees": lambda g: [utils.degree(end, g.num_nodes) for end in g.edge_index],
    "rows of sources": lambda g: utils.scatter(g.x[g.edge_index[0]], g.edge_index[1], 0, g.num_nodes),
    "columns of rows": lambda g: utils.scatter(g.x[g.edge_index[0], 1:3], g.edge_index[1], 0, g.num_nodes, "max"),
    "to sources": lambda g: utils.scatter(g.edge_weight, g.edge_index[0], 0, g.num_nodes, "mean"),
    "softmax": lambda g: utils.softmax(g.edge_weight, g.edge_index[1], num_nodes=g.num_nodes),
    "loops' values": lambda g: utils.get_self_loop_attr(g.edge_index, g.edge_weight, g.num_nodes),
    "sorted": lambda g: utils.sort_edge_index(g.edge_index, g.edge_weight, num_nodes=g.num_nodes),
    "coalesced": lambda g: utils.coalesce(g.edge_index, g.edge_weight, g.num_nodes),
    "undirected": lambda g: utils.to_undirected(g.edge_index, num_nodes=g.num_nodes),
    "numbers": lambda g: torch.tensor([g.edge_index.max(), g.edge_index.min(), g.edge_index.shape[1], g.num_edges]),
    "questions": lambda g: torch.tensor(
        [
            utils.contains_self_loops(g.edge_index),
            utils.contains_self_loops(utils.remove_self_loops(g.edge_index)[0]),
            utils.is_undirected(g.edge_index, num_nodes=g.num_nodes),
            utils.is_undirected(utils.to_undirected(g.edge_index), num_nodes=g.num_nodes),
            utils.contains_isolated_nodes(g.edge_index, g.num_nodes),
        ]
    ),
    "homophily": lambda g: torch.tensor(utils.homophily(g.edge_index, g.y)),
}


def flat(value: Any) -> list[Any]:
    return [entry for each in value for entry in flat(each)] if isinstance(value, list | tuple) else [value]


def read_on_a_rank(world: fg.World, path: str):
    found = {}
    for name, expression in {**LAZY, **{f"read: {name}": e for name, e in READ.items()}}.items():
        data = fg.open(path, world)
        try:
            values = flat(expression(data))
            if name in LAZY:
                assert all(isinstance(value, EdgeRows | EndRows) for value in values), "it was read"
            found[name] = [fg.gather(value) for value in values if value is not None]
        except Exception as error:
            found[name] = f"{type(error).__name__}: {error}"
    return found


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("graphs") / "graph.fg"
    fg.partition(graph(), path, num_parts=3)
    return str(path)


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_it_is_the_index_of_the_whole_graph(path, num_ranks):
    g = graph()
    for found in run_ranks(num_ranks, read_on_a_rank, path):
        for name, value in found.items():
            expression = LAZY.get(name) or READ[name.removeprefix("read: ")]
            wanted = [entry for entry in flat(expression(g)) if entry is not None]
            assert not isinstance(value, str), (name, value)
            torch.testing.assert_close(value, wanted, rtol=1e-12, atol=1e-12, msg=lambda text, of=name: f"{of}: {text}")


def test_it_takes_no_memory_until_it_is_read(path):
    index = fg.open(path).edge_index
    assert isinstance(index, torch.Tensor)
    assert index.shape == (2, graph().num_edges)
    for lazy in (index, index[0], index.flip(0), index[:, index[0] != index[1]]):
        assert lazy._is_lazy
        with torch._C.DisableTorchFunctionSubclass():
            assert lazy.untyped_storage().nbytes() == 8
        assert "_read" not in lazy.__dict__


def gradients(g: Any) -> tuple[torch.Tensor, ...]:
    """Reading and adding by ids are each other's adjoint."""
    src, dst = g.edge_index
    x = g.x.clone().requires_grad_()
    out = torch.zeros_like(x).scatter_add_(0, src.view(-1, 1).expand(-1, x.size(1)), x[dst] * 2)
    (out * g.x).sum().backward()
    return out.detach(), x.grad


def gradients_on_a_rank(world: fg.World, path: str):
    return tuple(map(fg.gather, gradients(fg.open(path, world))))


def test_adding_into_rows_of_others_has_the_gradient_of_the_whole_graph(path):
    for got in run_ranks(3, gradients_on_a_rank, path):
        torch.testing.assert_close(got, gradients(graph()), rtol=1e-10, atol=1e-12)


def out_of_range(world: fg.World, path: str):
    data = fg.open(path, world)
    conv = fg.prepare(GraphConv(NUM_FEATURES, 4).double(), data)
    wrong = torch.cat([data.edge_index, torch.tensor([[0], [NUM_NODES]])], dim=1)
    try:
        conv(data.x, wrong)
    except (IndexError, ValueError) as error:
        return str(error)


def test_an_edge_out_of_range_is_the_same_error_on_all_ranks(path):
    first, second = run_ranks(2, out_of_range, path)
    assert first == second == f"an edge leads to a row that is out of range for {NUM_NODES} rows"
