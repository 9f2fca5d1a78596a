"""With rows narrowed on the wire, an epoch sends as many rows in fewer bytes, and computes nearly the same."""

from dataclasses import replace

import pytest
import torch
import torch.distributed as dist
from torch_geometric.nn import models

import fullgraph as fg
from fullgraph.config import MODES
from tests.combinations import combinations
from tests.equivalence.graphs import NUM_FEATURES, awkward_graph
from tests.ranks import run_ranks

HEADS, WIDTH = 4, 32
SHAPE = (NUM_FEATURES, WIDTH, 3, WIDTH)
# Without zeros, of which packed rows would be shorter.
MODELS = {
    "gcn": lambda: models.GCN(*SHAPE, act="tanh"),
    "sage": lambda: models.GraphSAGE(*SHAPE, act="tanh"),
    "sage-max": lambda: models.GraphSAGE(*SHAPE, aggr="max", act="tanh"),
    "gat": lambda: models.GAT(*SHAPE, heads=HEADS, act="tanh"),
    "gatv2": lambda: models.GAT(*SHAPE, heads=HEADS, v2=True, act="tanh"),
    "gcn with zeros": lambda: models.GCN(*SHAPE),
    "own max": lambda: models.EdgeCNN(*SHAPE, act="tanh"),
}
BYTES = {"float32": 4 * WIDTH, "bfloat16": 2 * WIDTH, "int8": WIDTH + 4}
ERROR = {"bfloat16": 2e-2, "int8": 1e-1}


def second_epoch(world: fg.World, path: str, mode: str, name: str, wire_dtype: str, dtype: torch.dtype):
    notes = 0  # bytes of the messages that say that no zeros are left out of what follows

    def post(operations: list[dist.P2POp]) -> list[dist.Work]:
        nonlocal notes
        sent = [o.tensor for o in operations if o.op is dist.isend]
        notes += sum(8 for t in sent if t.dtype == torch.int64 and t.tolist() == [-1])
        return dist.batch_isend_irecv(operations)

    data = fg.open(path, replace(world, post=post), mode=mode, round_rows=6, wire_dtype=wire_dtype)
    torch.manual_seed(0)
    model, x = fg.prepare(MODELS[name]().to(dtype), data), data.x.to(dtype)
    for _ in range(2):
        model.zero_grad()
        start = world.traffic.rows_bytes - notes
        out = model(x, data.edge_index)
        out[data.train_mask].square().mean().backward()
    sent = world.traffic.rows_bytes - notes - start
    return sent, fg.gather(out.detach()), torch.cat([p.grad.view(-1) for p in model.parameters()])


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("graphs") / "graph.fg"
    fg.partition(awkward_graph(), path, num_parts=4)
    return str(path)


def error(got: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((got - wanted).norm() / wanted.norm())


@combinations(name=["gcn", "sage", "gat", "gatv2"], mode=MODES, num_ranks=[2, 3, 4], wire_dtype=ERROR)
def test_fewer_bytes_for_the_same_rows(path, name, mode, num_ranks, wire_dtype):
    whole = run_ranks(num_ranks, second_epoch, path, mode, name, "float32", torch.float32)
    narrow = run_ranks(num_ranks, second_epoch, path, mode, name, wire_dtype, torch.float32)
    for (sent, *_), (sent_whole, *_) in zip(narrow, whole, strict=True):
        if "gat" in name:  # numbers per head travel whole; some rows are wider than others
            assert BYTES[wire_dtype] - 4 < sent / sent_whole * BYTES["float32"] < BYTES[wire_dtype] + 28
        else:
            assert sent * BYTES["float32"] == sent_whole * BYTES[wire_dtype]
    for got, wanted in zip(narrow[0][1:], whole[0][1:], strict=True):
        assert 1e-5 < error(got, wanted) < ERROR[wire_dtype]


@pytest.mark.parametrize(
    ("name", "dtype", "mode"),
    [("sage-max", torch.float32, "sar"), ("gcn", torch.float64, "sar"), ("gat", torch.float64, "halo")],
)
def test_maxima_and_float64_keep_all_digits(path, name, dtype, mode):
    whole = run_ranks(3, second_epoch, path, mode, name, "float32", dtype)
    narrow = run_ranks(3, second_epoch, path, mode, name, "bfloat16", dtype)
    for (sent, *_), (sent_whole, *_) in zip(narrow, whole, strict=True):
        assert sent == sent_whole > 0
    for got, wanted in zip(narrow[0][1:], whole[0][1:], strict=True):
        assert torch.equal(got, wanted)


def test_maxima_of_own_messages_are_of_whole_rows(path):
    whole, narrow = (run_ranks(3, second_epoch, path, "sar", "own max", w, torch.float32) for w in ("float32", "int8"))
    assert torch.equal(narrow[0][1], whole[0][1])
    assert error(narrow[0][2], whole[0][2]) < ERROR["int8"], "only gradients travel narrow"


@pytest.mark.parametrize("mode", ["sar", "halo"])
def test_zeros_are_left_out_of_bfloat16_too(path, mode):
    answers = {
        name: run_ranks(3, second_epoch, path, mode, name, "bfloat16", torch.float32)
        for name in ("gcn", "gcn with zeros")
    }
    for (sent, *_), (sent_dense, *_) in zip(answers["gcn with zeros"], answers["gcn"], strict=True):
        assert sent < 0.9 * sent_dense
