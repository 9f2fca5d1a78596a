"""Graphs of several types: what PyG does to them as a whole keeps its meaning, and draws are by node, not by rank."""

import pytest
import torch
import torch.nn.functional as F
from torch_geometric import nn as pyg

import fullgraph as fg
from fullgraph.config import MODES
from fullgraph.pyg.data.edge_index import EdgeRows
from tests.equivalence.cut import cut_once
from tests.equivalence.hetero import NONE, RELATIONS, SIZES, WIDTHS, WRITES, TwoLayers, awkward_hetero
from tests.ranks import run_ranks


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return cut_once(tmp_path_factory.mktemp("graphs"), awkward_hetero())("metis", 5)


def flat(data):
    """Everything of PyG's homogeneous graph, whose types have rows of different widths."""
    for kind in SIZES:
        data[kind].num_nodes = data[kind].num_nodes
        del data[kind].x
    one = data.to_homogeneous()
    return {key: fg.gather(value) for key, value in one.to_dict().items() if isinstance(value, torch.Tensor)}, (
        one.num_nodes + 0,
        one.num_edges,
    )


def flat_on_a_rank(world: fg.World, path: str):
    data = fg.open(path, world)
    assert all(isinstance(index, EdgeRows) for index in data.edge_index_dict.values())
    return flat(data)


def test_to_homogeneous_is_that_of_pyg(path):
    whole = awkward_hetero()
    whole["idle"].num_nodes = SIZES["idle"]
    wanted, counts = flat(whole)
    for num_ranks in (1, 3):
        for found, numbers in run_ranks(num_ranks, flat_on_a_rank, path):
            torch.testing.assert_close(found, wanted, rtol=0, atol=0)
            assert numbers == counts


def setup_bytes_of_steps(world: fg.World, path: str):
    """What three steps of R-GCN and HGT told other ranks about their edges."""
    data = fg.open(path, world, round_rows=16)
    one = data.to_homogeneous()
    rgcn = fg.prepare(pyg.RGCNConv(one.num_nodes, 4, len(RELATIONS), num_bases=2).double(), data)
    hgt = fg.prepare(pyg.HGTConv(WIDTHS, 4, data.metadata(), heads=2).double(), data)
    told = []
    for _ in range(3):
        before = world.traffic.setup_bytes
        out = rgcn(None, one.edge_index, one.edge_type)
        rows = hgt(data.x_dict, data.edge_index_dict)
        (out.sum() + sum(there.sum() for there in rows.values() if there is not None)).backward()
        told.append(world.traffic.setup_bytes - before)
    return told


def test_walks_over_relations_are_built_once(path):
    for first, *others in run_ranks(3, setup_bytes_of_steps, path):
        assert first > 0
        assert others == [0, 0]


class Dropping(torch.nn.Module):
    """Dropout on nodes of all types, inside attention, and on a relation without edges."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = pyg.HeteroConv(
            {
                r: pyg.GATConv((WIDTHS[r[0]], WIDTHS[r[2]]), 2, heads=2, add_self_loops=False, dropout=0.4)
                if r != WRITES
                else pyg.TransformerConv((4, 6), 4, edge_dim=3, dropout=0.4)
                for r in [*RELATIONS[:-1], NONE]
            }
        )

    def forward(self, x_dict, edge_index_dict, edge_attr):
        x_dict = {kind: F.dropout(x, 0.3, self.training) for kind, x in x_dict.items()}
        attributes = {WRITES: F.dropout(edge_attr, 0.2, self.training)}
        return {
            kind: F.dropout(out, 0.5, self.training)
            for kind, out in self.conv(x_dict, edge_index_dict, edge_attr_dict=attributes).items()
        }


def curve(world: fg.World, path: str, mode: str):
    data = fg.open(path, world, mode=mode, round_rows=16, chunk_edges=20)
    torch.manual_seed(1)
    model = fg.prepare(Dropping().double(), data)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    papers, losses = data["paper"], []
    for _ in range(3):
        optimizer.zero_grad()
        out = model(data.x_dict, data.edge_index_dict, data[WRITES].edge_attr)["paper"]
        loss = F.cross_entropy(out[papers.train_mask], papers.y[papers.train_mask])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, fg.explain(model, data).splitlines()


def test_curve_with_dropout_is_the_same_on_any_number_of_ranks(path):
    ((wanted, _),) = run_ranks(1, curve, path, "sar")
    for num_ranks, mode in ((1, "halo"), *((2, mode) for mode in MODES), (5, "sar")):
        for losses, table in run_ranks(num_ranks, curve, path, mode):
            assert losses == pytest.approx(wanted, rel=1e-9)
            assert table[0].endswith(f"mode {mode}")
            assert sum("GATConv  " in line and " walk " in line for line in table) == 5


def with_bases(world: fg.World | None, graph):
    """``to_hetero_with_bases``, which makes one graph of all types."""
    data = graph if world is None else fg.open(graph, world)
    kinds, relations, whole = [kind for kind in SIZES if kind != "idle"], RELATIONS[:-1], awkward_hetero()
    torch.manual_seed(0)
    model = pyg.to_hetero_with_bases(TwoLayers("sage"), (kinds, relations), num_bases=2, in_channels={"x": 6}).double()
    with torch.no_grad():  # which sets its lazy layers' sizes
        model.eval()({kind: whole[kind].x for kind in kinds}, {r: whole[r].edge_index for r in relations})
    if world is not None:
        fg.prepare(model, data)
    out = model.train()({k: data[k].x for k in kinds}, {relation: data[relation].edge_index for relation in relations})
    sum(rows.square().sum() for rows in out.values()).backward()
    return {k: fg.gather(rows.detach()) for k, rows in out.items()}, [p.grad for p in model.parameters()]


def test_to_hetero_with_bases_is_that_of_pyg(path):
    wanted = with_bases(None, awkward_hetero())
    for num_ranks in (1, 3):
        for found in run_ranks(num_ranks, with_bases, path):
            torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-10)


def hgt_of_some_edges(data):
    """Of all edges, and then of some of one relation's, which is not the first."""
    torch.manual_seed(2)
    hgt = pyg.HGTConv(WIDTHS, 4, data.metadata(), heads=2).double()
    layer = fg.prepare(hgt, data) if isinstance(data[WRITES].edge_index, EdgeRows) else hgt
    indices, outs = dict(data.edge_index_dict), []
    for _ in range(2):
        outs += [fg.gather(x) for x in layer(data.x_dict, indices).values() if x is not None]
        indices[WRITES] = indices[WRITES][:, indices[WRITES][0] % 2 == 0]
    return outs


def hgt_on_a_rank(world: fg.World, path: str):
    return hgt_of_some_edges(fg.open(path, world))


def test_hgt_follows_the_edges_of_every_relation(path):
    wanted = hgt_of_some_edges(awkward_hetero())
    for num_ranks in (1, 3):
        for outs in run_ranks(num_ranks, hgt_on_a_rank, path):
            torch.testing.assert_close(outs, wanted, rtol=1e-9, atol=1e-9)
