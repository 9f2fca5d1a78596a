"""The law: on any number of ranks, in any mode, with any partitioner, the outputs and gradients are plain PyG's."""

import pytest
import torch
from torch_geometric.nn import GraphConv, models
from torch_geometric.nn.models.basic_gnn import BasicGNN

import fullgraph as fg
from fullgraph.config import MODES
from tests.combinations import combinations
from tests.equivalence.cut import cut_once
from tests.equivalence.graphs import NUM_CLASSES, NUM_FEATURES, awkward_graph
from tests.ranks import run_ranks

MODELS = {
    "gcn": lambda: models.GCN(NUM_FEATURES, 10, 2, NUM_CLASSES),
    "sage-mean": lambda: models.GraphSAGE(NUM_FEATURES, 10, 2, NUM_CLASSES),
    "sage-max": lambda: models.GraphSAGE(NUM_FEATURES, 10, 2, NUM_CLASSES, aggr="max"),
    "gin": lambda: models.GIN(NUM_FEATURES, 10, 2, NUM_CLASSES),
    "gat": lambda: models.GAT(NUM_FEATURES, 12, 2, NUM_CLASSES, heads=4),
    "graph": lambda: GraphConvs(NUM_FEATURES, 10, 2, NUM_CLASSES),
}


class GraphConvs(BasicGNN):
    """PyG has no ready model of GraphConv layers."""

    supports_edge_weight = True
    supports_edge_attr = False
    supports_norm_batch = False

    def init_conv(self, in_channels, out_channels, **kwargs):
        return GraphConv(in_channels, out_channels, **kwargs)


def build(name: str) -> torch.nn.Module:
    torch.manual_seed(1)
    return MODELS[name]().double()


def outputs_and_gradients(world: fg.World, path: str, mode: str, name: str, dtype: torch.dtype = torch.float64):
    data = fg.open(path, world, mode=mode, prefetch=1, round_rows=7)
    model = fg.prepare(build(name).to(dtype), data)
    x = data.x.to(dtype).clone().requires_grad_()
    out = model(x, data.edge_index)
    (out * data.probe).sum().backward()
    return fg.gather(out.detach()), fg.gather(x.grad), {key: p.grad for key, p in model.named_parameters()}


@pytest.fixture(scope="module")
def expected():
    data = awkward_graph()
    answers = {}
    for name in MODELS:
        model, x = build(name), data.x.clone().requires_grad_()
        out = model(x, data.edge_index)
        (out * data.probe).sum().backward()
        answers[name] = (out.detach(), x.grad, {key: p.grad for key, p in model.named_parameters()})
    return answers


@pytest.fixture(scope="module")
def partitioned(tmp_path_factory):
    return cut_once(tmp_path_factory.mktemp("graphs"), awkward_graph())


def assert_equal(got: torch.Tensor, wanted: torch.Tensor, tolerance: float = 1e-10) -> None:
    torch.testing.assert_close(got.double(), wanted, rtol=tolerance, atol=tolerance * float(wanted.abs().max()))


@combinations(3, name=MODELS, mode=MODES, num_ranks=[1, 2, 3, 4], method=["metis", "random"], parts_per_rank=[1, 2])
def test_outputs_and_gradients_equal_plain_pyg(expected, partitioned, name, mode, num_ranks, method, parts_per_rank):
    check(expected, partitioned(method, num_ranks * parts_per_rank), name, mode, num_ranks)


@pytest.mark.parametrize("name", MODELS)
def test_eight_ranks(expected, partitioned, name):
    check(expected, partitioned("metis", 8), name, "sar", 8)


@pytest.mark.parametrize(("num_ranks", "mode"), [(1, "sar"), (3, "sar"), (3, "keep"), (3, "halo")])
@pytest.mark.parametrize("name", MODELS)
def test_float32_takes_other_products(expected, partitioned, name, num_ranks, mode):
    check(expected, partitioned("metis", num_ranks), name, mode, num_ranks, torch.float32, tolerance=1e-5)


def check(expected, path: str, name: str, mode: str, num_ranks: int, *dtype: torch.dtype, tolerance=1e-10) -> None:
    (out, grad_x, gradients), *_ = run_ranks(num_ranks, outputs_and_gradients, path, mode, name, *dtype)
    wanted_out, wanted_grad_x, wanted_gradients = expected[name]
    assert_equal(out, wanted_out, tolerance)
    assert_equal(grad_x, wanted_grad_x, tolerance)
    assert gradients.keys() == wanted_gradients.keys()
    for key, wanted in wanted_gradients.items():
        assert_equal(gradients[key], wanted, tolerance)
