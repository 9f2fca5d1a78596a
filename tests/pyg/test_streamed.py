"""Opening a graph whose features stay on disk: what they are, what they can do, what is refused and what they cost."""

import os
import resource
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch_geometric.data import HeteroData
from torch_geometric.nn import GraphSAGE, HeteroConv, SAGEConv

import fullgraph as fg
from fullgraph.errors import FullgraphError, GraphFormatError, InputError, UnsupportedOperation
from fullgraph.graph import Graph
from fullgraph.pyg.data.streamed_rows import RowsOnDisk
from tests.equivalence.graphs import NUM_CLASSES, NUM_FEATURES, NUM_NODES, awkward_graph
from tests.ranks import run_ranks


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("graphs") / "graph.fg"
    fg.partition(awkward_graph(), path, num_parts=4)
    return str(path)


@pytest.fixture
def x(path):
    return fg.open(path, stream=("x",)).x


def test_the_features_look_like_rows_and_the_rest_is_in_memory(path):
    data, whole = fg.open(path, stream=("x",)), awkward_graph()
    assert isinstance(data.x, RowsOnDisk)
    assert (data.num_features, data.num_nodes, len(data.x)) == (NUM_FEATURES, NUM_NODES, NUM_NODES)
    assert (data.x.shape, data.x.dtype, data.x.requires_grad) == ((NUM_NODES, NUM_FEATURES), torch.float64, False)
    assert torch.equal(fg.gather(data.y), whole.y)
    assert repr(data.x) == "RowsOnDisk(x, shape=[67, 6], dtype=torch.float64)"


def chosen_rows(world: fg.World, path: str) -> None:
    x, whole = fg.open(path, world, stream=("x",)).x, awkward_graph().x
    chosen = torch.tensor([66, 3, 3, 40, -1])
    mask = torch.arange(NUM_NODES) % 3 == 0
    assert x.shape == whole.shape
    assert repr(x) == "RowsOnDisk(x, shape=[67, 6], dtype=torch.float64)"
    for got, wanted in (
        (x[chosen], whole[chosen]),
        (x[mask], whole[mask]),
        (x[fg.open(path, world).y > 1], whole[awkward_graph().y > 1]),
        (x[5:60], whole[5:60]),
        (x[::7], whole[::7]),
        (x[:], whole),
        (x.index_select(0, chosen[:4]), whole[chosen[:4]]),
        (x.float()[chosen], whole.float()[chosen]),
        ((x / 2)[mask], whole[mask] / 2),
    ):
        assert torch.equal(fg.gather(got), wanted)
    assert x[mask & False].shape == (0, NUM_FEATURES)


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_chosen_rows_are_read(path, num_ranks):
    run_ranks(num_ranks, chosen_rows, path)


def pruned_rows(world: fg.World, path: str) -> None:
    data, wanted, mask = fg.open(path, world, stream=("x",)), fg.open(path, world), torch.arange(NUM_NODES) == 3
    few, all_rows = fg.prune(data, mask, 1), fg.prune(data, ~mask, 1)
    assert 0 < len(few.x) < NUM_NODES
    assert torch.equal(fg.gather(few.x), fg.gather(fg.prune(wanted, mask, 1).x))
    assert isinstance(all_rows.x, RowsOnDisk)
    torch.manual_seed(1)
    model = fg.prepare(GraphSAGE(NUM_FEATURES, 4, 1, NUM_CLASSES).double(), data)
    for graph, chosen in ((few, mask), (all_rows, ~mask)):
        for x in (graph.x, data.x):
            out, whole = model(x, graph.edge_index), model(wanted.x, wanted.edge_index)[chosen]
            torch.testing.assert_close(fg.gather(out), fg.gather(whole))


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_pruning_reads_the_rows_that_are_left(path, num_ranks):
    run_ranks(num_ranks, pruned_rows, path)


def functions_of_rows(world: fg.World, path: str) -> None:
    x, whole, matrix = fg.open(path, world, stream=("x",)).x, awkward_graph().x, torch.randn(NUM_FEATURES, 3).double()
    columns = torch.arange(NUM_FEATURES) / 10
    for of in (
        lambda x: x,
        lambda x: x.float().double(),
        lambda x: 2 * x + x,
        lambda x: (x + 1) * x,
        lambda x: F.relu(x - columns),
        lambda x: x / x.sum(-1, keepdim=True).clamp(min=1),
        lambda x: x.abs() / x.norm(dim=1, keepdim=True),
        lambda x: F.normalize(x).clamp(max=0.5) * columns,
        lambda x: F.dropout(x, 0.5, training=False).log1p().nan_to_num(),
    ):
        wanted = of(whole) @ matrix
        for product in (of(x) @ matrix, torch.mm(of(x), matrix), F.linear(of(x), matrix.t())):
            torch.testing.assert_close(fg.gather(product), wanted, rtol=1e-6, atol=1e-6)
    sums = x.sum(-1, keepdim=True)
    assert sums.shape == (NUM_NODES, 1)
    torch.testing.assert_close(fg.gather(sums[:]), whole.sum(-1, keepdim=True))


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_functions_of_single_rows_and_a_matrix(path, num_ranks):
    run_ranks(num_ranks, functions_of_rows, path)


REFUSED = {
    "torch.Tensor.mean": lambda x: x.mean(),
    "torch.Tensor.sum": lambda x: x.sum(0, keepdim=True),
    "torch.Tensor.__getitem__": lambda x: x[:, 0],
    "torch.Tensor.add": lambda x: x + torch.ones(NUM_NODES, 1),
    "torch.Tensor.mul": lambda x: x * x[:],
    "torch.Tensor.gt": lambda x: x > 0,
    "torch.Tensor.add_": lambda x: x.add_(1),
    "torch.Tensor.softmax": lambda x: x.softmax(0),
    "torch.cat": lambda x: torch.cat([x, x]),
    "torch.Tensor.requires_grad_": lambda x: x.requires_grad_(),
    "torch.Tensor.numpy": lambda x: x.numpy(),
    "torch.Tensor.to": lambda x: x.to("meta"),
    "aten.alias.default": lambda x: fg.gather(x),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_needs_all_rows_is_refused_by_name(x, name):
    with pytest.raises(UnsupportedOperation, match=r"^this operation needs x in memory, but it was opened with ") as e:
        REFUSED[name](x)
    assert str(e.value).endswith(f"or open the graph without stream: {name}")


def layer_refusal(world: fg.World, path: str):
    data = fg.open(path, world, stream=("x",))
    model = fg.prepare(GraphSAGE(NUM_FEATURES, 4, 1, NUM_CLASSES, aggr="max").double(), data)
    with pytest.raises(UnsupportedOperation, match="this operation needs x in memory"):
        model(data.x, data.edge_index)
    model = fg.prepare(GraphSAGE(NUM_FEATURES, 4, 1, NUM_CLASSES), data)
    with pytest.raises(UnsupportedOperation, match=r"dtype torch.float32 cannot take the streamed x"):
        model(data.x, data.edge_index)


@pytest.mark.parametrize("num_ranks", [1, 2])
def test_a_layer_that_needs_the_rows_themselves_is_refused(path, num_ranks):
    run_ranks(num_ranks, layer_refusal, path)


def open_refusal(world: fg.World, path: str, stream: tuple[str, ...]):
    try:
        fg.open(path, world, stream=stream)
    except FullgraphError as error:
        return type(error).__name__, str(error)


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (
            ("features",),
            "stream must name arrays that the graph stores per node, which are probe, train_mask, x, y: 'features'",
        ),
        (("y",), "stream must name arrays of real numbers [num_nodes, width]; 'y' is int64 with rows of shape: []"),
    ],
)
def test_arrays_that_cannot_be_streamed(path, stream, message):
    assert run_ranks(2, open_refusal, path, stream) == [("InputError", message)] * 2


def test_a_file_that_goes_or_shrinks_is_named(path, tmp_path):
    data = awkward_graph()
    copy = tmp_path / "copy.fg"
    fg.partition(data, copy, num_parts=1)
    x, file = fg.open(copy, stream=("x",)).x, copy / "part-00000/nodes/node/x.npy"
    matrix = torch.ones(NUM_FEATURES, 2, dtype=torch.float64)
    os.truncate(file, file.stat().st_size - 8)
    with pytest.raises(
        GraphFormatError, match=rf"^a file of the graph was changed while the graph was open; .*: {file}$"
    ):
        x @ matrix
    file.unlink()
    with pytest.raises(GraphFormatError, match=rf"^a file of the graph can no longer be read .*: {file}$"):
        x @ matrix


def test_nothing_stays_open(x):
    before = len(os.listdir("/proc/self/fd"))
    matrix = torch.ones(NUM_FEATURES, 2, dtype=torch.float64, requires_grad=True)
    out = x @ matrix
    assert len(os.listdir("/proc/self/fd")) == before
    out.sum().backward()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_half_precision_on_disk_is_the_rounded_features(tmp_path, dtype):
    whole = awkward_graph()
    stored = fg.partition(whole, tmp_path / "half.fg", num_parts=3, feature_dtype=dtype)
    assert stored.manifest.node_types["node"].arrays["x"].dtype == dtype
    rounded = whole.x.to(getattr(torch, dtype))
    in_memory, streamed = fg.open(tmp_path / "half.fg"), fg.open(tmp_path / "half.fg", stream=("x",))
    assert torch.equal(fg.gather(in_memory.x), rounded)
    assert streamed.x.dtype == torch.float32
    assert torch.equal(fg.gather(streamed.x[:]), rounded.float())
    matrix = torch.randn(NUM_FEATURES, 4)
    torch.testing.assert_close(fg.gather(streamed.x @ matrix), fg.gather(in_memory.x.float() @ matrix))


def test_features_that_a_dtype_does_not_hold(tmp_path):
    data = awkward_graph()
    data.x[7, 2] = 1e6
    with pytest.raises(InputError, match=r"^the features do not fit float16, whose numbers end at 65504; .*: 1e\+06$"):
        fg.partition(data, tmp_path / "g.fg", num_parts=2, feature_dtype="float16")
    with pytest.raises(InputError, match=r"^feature_dtype must be one of float16, bfloat16, float32: 'int8'$"):
        fg.partition(data, tmp_path / "g.fg", num_parts=2, feature_dtype="int8")
    assert list(tmp_path.iterdir()) == []


def two_types() -> HeteroData:
    rng = torch.Generator().manual_seed(2)
    data = HeteroData()
    data["paper"].x, data["author"].x = torch.randn(30, 5, generator=rng), torch.randn(20, 3, generator=rng)
    for relation, (n, m) in {("author", "writes", "paper"): (20, 30), ("paper", "by", "author"): (30, 20)}.items():
        src, dst = torch.randint(n, (60,), generator=rng), torch.randint(m, (60,), generator=rng)
        data[relation].edge_index = torch.stack([src, dst])
    return data


def hetero(world: fg.World, path: str, stream: tuple[str, ...]):
    data = fg.open(path, world, stream=stream)
    torch.manual_seed(1)
    widths = {"paper": 5, "author": 3}
    convs = {r: SAGEConv((widths[r[0]], widths[r[2]]), 4) for r in data.edge_types}
    layer = fg.prepare(HeteroConv(convs), data)
    out = layer({t: data[t].x for t in data.node_types}, data.edge_index_dict)
    sum(rows.square().sum() for rows in out.values()).backward()
    return [fg.gather(out[t].detach()) for t in data.node_types], [p.grad for p in layer.parameters()]


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_graphs_of_several_types(tmp_path, num_ranks):
    path = str(tmp_path / "two.fg")
    fg.partition(two_types(), path, num_parts=3)
    wanted_out, wanted = run_ranks(1, hetero, path, ())[0]
    out, gradients = run_ranks(num_ranks, hetero, path, ("x",))[0]
    torch.testing.assert_close(out, wanted_out)
    torch.testing.assert_close(gradients, wanted)


WIDE, MANY = 4_096, 16_000  # 250 MiB of features


@pytest.fixture(scope="module")
def wide(tmp_path_factory) -> str:
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("wide") / "wide.fg"
    src = rng.integers(0, MANY, 4 * MANY)
    graph = Graph.homogeneous(
        np.stack([src, (src + rng.integers(0, 20, 4 * MANY)) % MANY]),
        num_nodes=MANY,
        x=rng.standard_normal((MANY, WIDE), dtype=np.float32),
        y=rng.integers(0, 3, MANY),
        train_mask=np.ones(MANY, bool),
    )
    fg.partition(graph, path, num_parts=4, method="contiguous")
    return str(path)


def losses(data, world: fg.World) -> list[float]:
    """Of two epochs."""
    torch.manual_seed(0)
    model = GraphSAGE(data.num_features, 8, 2, data.num_classes).to(data.x.dtype)
    optimizer = torch.optim.Adam(model.parameters())
    fg.prepare(model, data)
    losses = []
    for _ in range(2):
        optimizer.zero_grad()
        out = model(data.x, data.edge_index)
        loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def under_a_limit(world: fg.World, path: str, small: str, stream: tuple[str, ...], allowed: int):
    """Losses, or the error, in ``allowed`` bytes of address space more than now."""
    losses(fg.open(small, world), world)  # starts threads, whose stacks and heaps count
    size = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size + allowed, before[1]))
    try:
        return losses(fg.open(path, world, stream=stream), world)
    except FullgraphError as error:
        return type(error).__name__, str(error)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def test_features_that_do_not_fit_into_memory_train_on_more_ranks_or_from_disk(wide, path):
    allowed = 200 << 20
    assert run_ranks(1, under_a_limit, wide, path, (), allowed) == [
        (
            "OutOfMemory",
            (
                "the array x of this rank does not fit into memory; start more ranks, or leave it on disk, if it is of "
                "nodes, with stream=('x',) in Python and --stream on the command line; it takes, in MiB: 250"
            ),
        )
    ]
    streamed = run_ranks(1, under_a_limit, wide, path, ("x",), allowed)[0]
    on_four_ranks = run_ranks(4, under_a_limit, wide, path, (), allowed)[0]
    assert streamed == pytest.approx(run_ranks(1, under_a_limit, wide, path, (), 4 << 30)[0], rel=1e-5)
    assert streamed == pytest.approx(on_four_ranks, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_under_autocast_streamed_rows_are_projected_as_others_are(path, dtype):
    torch.manual_seed(0)
    layer, found = torch.nn.Linear(NUM_FEATURES, 4).to(dtype), []
    for stream in ((), ("x",)):
        layer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            out = layer(fg.open(path, stream=stream).x.to(dtype))
        out.double().square().sum().backward()
        found.append((fg.gather(out.detach()), layer.weight.grad.clone(), layer.bias.grad.clone()))
    for held, streamed in zip(*found, strict=True):
        torch.testing.assert_close(streamed, held, rtol=2e-2 if dtype == torch.float32 else 1e-9, atol=1e-2)
    assert found[0][0].dtype == (torch.bfloat16 if dtype == torch.float32 else dtype)
