"""Opening a graph of several types: what each rank gets, and how rows of different types are told apart."""

import pytest
import torch
import torch.nn.functional as F
from torch_geometric import nn as pyg
from torch_geometric.data import HeteroData

import fullgraph as fg
from fullgraph.errors import FullgraphError, GraphMismatch, InputError, UnsupportedOperation
from fullgraph.pyg.index import RemoteIndex
from tests.equivalence.hetero import CITES, NONE, RELATIONS, SIZES, WIDTHS, WRITES, TwoLayers, awkward_hetero
from tests.ranks import run_ranks


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("graphs") / "graph.fg"
    fg.partition(awkward_hetero(), path, num_parts=5)
    return str(path)


def opened(world: fg.World, path: str):
    data = fg.open(path, world)
    assert isinstance(data, HeteroData)
    assert isinstance(data, fg.PartitionedHeteroData)
    assert data.metadata() == (list(SIZES), RELATIONS)
    assert data.world is world
    assert data.randomness.state() == {"seed": 0, "step": 0, "call": 0}
    assert all(isinstance(index, RemoteIndex) for index in data.edge_index_dict.values())
    rows = {kind: (data[kind].node_ids, data.x_dict[kind], data[kind].num_nodes) for kind in SIZES}
    edges = {r: (data[r].edge_index.edge_keys, data[r].edge_attr) for r in RELATIONS}
    facts = (data["paper"].num_classes, {kind: data[kind].num_global_nodes for kind in SIZES}, data.checksum)
    return rows, edges, facts, (data["paper"].y, data["paper"].train_mask)


@pytest.mark.parametrize("num_ranks", [1, 2, 5])
def test_ranks_share_all_rows_and_edges(path, num_ranks):
    whole = awkward_hetero()
    answers = run_ranks(num_ranks, opened, path)
    first_key = 0
    for relation in RELATIONS:
        keys = torch.cat([edges[relation][0] for _, edges, *_ in answers]) - first_key
        attributes = torch.cat([edges[relation][1] for _, edges, *_ in answers])
        assert torch.equal(keys.sort().values, torch.arange(whole[relation].num_edges))
        assert torch.equal(attributes, whole[relation].edge_attr[keys])
        first_key += whole[relation].num_edges
    for kind, count in SIZES.items():
        ids = torch.cat([rows[kind][0] for rows, *_ in answers])
        assert torch.equal(ids.sort().values, torch.arange(count))
    for rows, _, (num_classes, counts, checksum), (y, train_mask) in answers:
        for kind in SIZES:
            ids, x, num_nodes = rows[kind]
            assert torch.equal(x, whole[kind].x[ids])
            assert x.shape == (num_nodes, WIDTHS[kind])
        assert torch.equal(y, whole["paper"].y[rows["paper"][0]])
        assert torch.equal(train_mask, whole["paper"].train_mask[rows["paper"][0]])
        assert (num_classes, counts, checksum) == (4, SIZES, answers[0][2][2])
    if num_ranks == 5:
        assert any(rows["venue"][2] == 0 for rows, *_ in answers), "3 venues on 5 ranks"


def test_a_graph_without_any_relation(tmp_path):
    data = HeteroData()
    data["user"].x = torch.randn(5, 2)
    fg.partition(data, tmp_path / "users.fg", num_parts=1)
    with pytest.raises(GraphMismatch, match=r"^the graph has no relation, so there is nothing to pass messages over"):
        fg.open(tmp_path / "users.fg")


def refusals(world: fg.World, path: str) -> list[str]:
    data = fg.open(path, world)
    x = data.x_dict
    loops = fg.convert(pyg.GATConv((4, 6), 2), data)
    wrong = pyg.SAGEConv((4, 6), 2, aggr="std")
    attempts = [
        lambda: fg.gather_rows(x["paper"], data),
        lambda: fg.gather_rows(x["paper"], data, "papers"),
        lambda: fg.gather_rows(x["paper"][:0], data, "paper"),
        lambda: loops((x["author"].float(), x["paper"].float()), data[WRITES].edge_index),
        lambda: wrong((x["author"][1:].float(), x["paper"].float()), data[WRITES].edge_index),
        lambda: data[WRITES].edge_index[0] == data[WRITES].edge_index[1],
        lambda: torch.cat([data[WRITES].edge_index, data[CITES].edge_index], dim=1),
    ]
    told = []
    for attempt in attempts:
        try:
            attempt()
        except FullgraphError as error:
            told.append(f"{type(error).__name__}: {error}")
    return told


def test_what_has_no_meaning_is_refused(path):
    first, *others = run_ranks(2, refusals, path)
    expected = [
        "InputError: node_type must be one of paper, author, venue, idle: None",
        "InputError: node_type must be one of paper, author, venue, idle: 'papers'",
        "InputError: gather_rows needs one row for each of the ",
        "UnsupportedOperation: a relation between different node types has no self-loops",
        "UnsupportedOperation: the sources of a partitioned graph index tensors with one row per owned node",
        "UnsupportedOperation: a relation between different node types has no self-loops",
        "UnsupportedOperation: this operation on the edge_index of a partitioned graph has no global meaning",
    ]
    for answer in (first, *others):
        assert len(answer) == len(expected)
        for text, start in zip(answer, expected, strict=True):
            assert text.startswith(start)


def test_whole_hetero_data_is_refused():
    with pytest.raises(InputError, match=r"^data must come from fullgraph.open, but its edge_index is a: Tensor$"):
        fg.convert(pyg.HeteroConv({CITES: pyg.SAGEConv(6, 2)}), awkward_hetero())


def setup_bytes_of_steps(world: fg.World, path: str):
    """What three steps of R-GCN and HGT told other ranks about their edges, and what R-GCN without features refuses."""
    data = fg.open(path, world, round_rows=4)
    flat = data.to_homogeneous()
    rgcn = fg.convert(pyg.RGCNConv(flat.num_global_nodes, 4, len(RELATIONS), num_bases=2).double(), flat)
    hgt = fg.convert(pyg.HGTConv(WIDTHS, 4, data.metadata(), heads=2).double(), data)
    told = []
    for _ in range(3):
        before = world.traffic.setup_bytes
        out = rgcn(None, flat.edge_index, flat.edge_type)
        rows = hgt(data.x_dict, data.edge_index_dict)
        (out.sum() + sum(there.sum() for there in rows.values())).backward()
        told.append(world.traffic.setup_bytes - before)
    wrong = fg.convert(pyg.FastRGCNConv(flat.num_nodes, 4, len(RELATIONS)).double(), flat)
    with pytest.raises(InputError) as refusal:
        wrong(None, flat.edge_index, flat.edge_type)
    return told, str(refusal.value), torch.equal(flat.node_ids, flat.edge_index.relation.dst_ids)


def test_walks_over_relations_are_built_once(path):
    for (first, *others), refusal, same_ids in run_ranks(3, setup_bytes_of_steps, path):
        assert first > 0
        assert others == [0, 0]
        assert same_ids
        assert refusal.startswith(
            "FastRGCNConv without features needs in_channels to be the number of nodes of the whole graph, 60 of type "
        )


def test_to_homogeneous_is_that_of_pyg(path):
    whole, data = awkward_hetero(), fg.open(path)
    for kind in SIZES:
        whole[kind].num_nodes = SIZES[kind]
        del whole[kind].x, data[kind].x  # of different widths
    wanted, flat = whole.to_homogeneous(), data.to_homogeneous()
    assert isinstance(flat, fg.PartitionedData)
    assert (flat.num_nodes, flat.num_global_nodes, flat.num_classes) == (60, 60, 4)
    order = torch.argsort(flat.node_ids)
    for key in ("node_type", "probe", "place", "y", "train_mask"):
        assert torch.equal(flat[key][order], wanted[key]), key
    ids = flat.node_ids[flat.edge_index.plain][:, torch.argsort(flat.edge_index.edge_keys)]
    assert torch.equal(ids, wanted.edge_index)
    for key in ("edge_type", "edge_attr"):
        assert torch.equal(flat[key][torch.argsort(flat.edge_index.edge_keys)], wanted[key]), key


def twins() -> HeteroData:
    """Two types of 12 nodes each, and one of 9; on one rank the first two cannot be told apart by number."""
    data = HeteroData()
    for kind, count in {"left": 12, "right": 12, "third": 9}.items():
        data[kind].x = torch.ones(count, 3)
    data["left", "to", "right"].edge_index = torch.arange(12).repeat(2, 1)
    data["third", "to", "left"].edge_index = torch.stack([torch.arange(9), torch.arange(9)])
    return data


def dropped(world: fg.World, path: str, kind: str, told: bool):
    data = fg.open(path, world)
    layer = fg.convert(torch.nn.Dropout(0.5), data)
    try:
        if told:
            with data.rows_are(kind):
                out = layer(data[kind].x)
        else:
            out = layer(data[kind].x)
    except UnsupportedOperation as error:
        return str(error)
    return fg.gather_rows(out, data, kind)


@pytest.mark.parametrize("kind", ["left", "right", "third"])
def test_dropout_of_types_with_equally_many_rows(tmp_path, kind):
    path = str(tmp_path / "twins.fg")
    fg.partition(twins(), path, num_parts=4, method="random")
    (wanted,) = run_ranks(1, dropped, path, kind, True)
    assert 0 < (wanted == 0).sum() < wanted.numel()
    assert torch.equal(run_ranks(4, dropped, path, kind, True)[0], wanted)
    for num_ranks in (1, 2, 4):
        first, *others = run_ranks(num_ranks, dropped, path, kind, False)
        if isinstance(first, str):
            assert kind != "third"
            assert others == [first] * (num_ranks - 1)
            assert "several kinds have that many on every rank: left, right; for nodes, say which by" in first
        else:
            assert torch.equal(first, wanted)
    (alone,) = run_ranks(1, dropped, path, kind, False)
    assert isinstance(alone, str) == (kind != "third")


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
    data = fg.open(path, world, mode=mode, round_rows=4, chunk_edges=20)
    torch.manual_seed(1)
    model = Dropping().double()
    model, optimizer = fg.prepare(model, torch.optim.Adam(model.parameters(), lr=0.05), data, seed=3)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        out = model(data.x_dict, data.edge_index_dict, data[WRITES].edge_attr)["paper"]
        loss = fg.mean_loss(F.cross_entropy, out, data["paper"].y, data["paper"].train_mask, data)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    accuracy = fg.accuracy(out, data["paper"].y, data["paper"].train_mask, data)
    return losses, accuracy, fg.explain(model, data).splitlines()


@pytest.mark.parametrize("mode", ["sar", "keep", "halo"])
@pytest.mark.parametrize("num_ranks", [1, 2, 5])
def test_curve_with_dropout_is_the_same_on_any_number_of_ranks(path, mode, num_ranks):
    ((wanted, accuracy, _),) = run_ranks(1, curve, path, "sar")
    for losses, share, table in run_ranks(num_ranks, curve, path, mode):
        assert losses == pytest.approx(wanted, rel=1e-9)
        assert share == accuracy
        assert table[0].endswith(f"mode {mode}")
        assert sum("GATConv  " in line and " walk " in line for line in table) == 5


def test_to_hetero_with_bases_is_refused_when_it_runs(path):
    data, whole = fg.open(path), awkward_hetero()
    kinds, relations = [kind for kind in SIZES if kind != "idle"], RELATIONS[:-1]
    model = pyg.to_hetero_with_bases(TwoLayers("sage"), (kinds, relations), num_bases=2, in_channels={"x": 6}).double()
    with torch.no_grad():  # which sets its lazy layers' sizes, and works on the whole graph
        model({kind: whole[kind].x for kind in kinds}, {relation: whole[relation].edge_index for relation in relations})
    fg.convert(model, data)
    with pytest.raises(UnsupportedOperation, match=r"no global meaning, because its sources may live on other ranks"):
        model({kind: data[kind].x for kind in kinds}, {relation: data[relation].edge_index for relation in relations})
