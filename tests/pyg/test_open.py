"""Opening a graph: what a rank gets, and what every rank is told when something does not fit."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch_geometric.data import Data

import fullgraph as fg
from fullgraph.errors import FullgraphError, InputError
from tests.equivalence.graphs import NUM_CLASSES, NUM_FEATURES, awkward_graph
from tests.ranks import run_ranks


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("graphs") / "graph.fg"
    fg.partition(awkward_graph(), path, num_parts=5)
    return str(path)


def opened(world: fg.World, path: str):
    data = fg.open(path, world)
    assert isinstance(data, Data)
    assert data.num_nodes == len(data.x) == len(data.node_ids)
    assert data.edge_index.size(1) == len(data.edge_attr) == len(data.edge_weight)
    counts = (data.num_global_nodes, data.num_classes, data.num_features)
    return data.node_ids, data.x, data.y, data.train_mask, data.edge_weight, data.edge_index.edge_keys, counts


@pytest.mark.parametrize("num_ranks", [1, 2, 4, 5])
def test_ranks_share_all_rows_and_edges(path, num_ranks):
    whole = awkward_graph()
    answers = run_ranks(num_ranks, opened, path)
    ids = torch.cat([answer[0] for answer in answers])
    assert torch.equal(ids.sort().values, torch.arange(whole.num_nodes))
    assert torch.equal(torch.cat([a[5] for a in answers]).sort().values, torch.arange(whole.num_edges))
    for node_ids, x, y, train_mask, edge_weight, edge_keys, counts in answers:
        assert torch.equal(x, whole.x[node_ids])
        assert torch.equal(y, whole.y[node_ids])
        assert torch.equal(train_mask, whole.train_mask[node_ids])
        assert torch.equal(edge_weight, whole.edge_weight[edge_keys])
        assert counts == (whole.num_nodes, NUM_CLASSES, NUM_FEATURES)


def refusal(world: fg.World, path: str, options: dict):
    try:
        fg.open(path, world, **options)
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


def test_a_file_broken_on_one_rank_is_that_ranks_error_everywhere(path, tmp_path):
    broken = Path(shutil.copytree(path, tmp_path / "broken.fg"))
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
def test_wrong_settings(path, options, message):
    assert run_ranks(2, refusal, path, options) == [("InputError", message)] * 2


def different_settings(world: fg.World, path: str):
    return refusal(world, path, {"prefetch": world.rank})


def test_ranks_with_different_settings_are_told(path):
    first, second = run_ranks(2, different_settings, path)
    assert first == second
    assert first[0] == "GraphMismatch"
    assert first[1].startswith("all ranks must use the same graph and settings; rank 0 has (")


def test_manifest_of_a_future_version(path, tmp_path):
    copy = Path(shutil.copytree(path, tmp_path / "future.fg"))
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["format_version"] = 99
    (copy / "manifest.json").write_text(json.dumps(manifest))
    ((kind, message),) = run_ranks(1, refusal, str(copy), {})
    assert kind == "GraphFormatError"
    assert "99" in message


def losses(world: fg.World, path: str, rows: str):
    data = fg.open(path, world)
    out = data.x[:, :NUM_CLASSES].clone().requires_grad_()
    mask = data.train_mask & (torch.tensor(world.rank == 0) if rows == "of rank 0" else torch.tensor(True))
    mask = mask & False if rows == "none" else mask
    mask = mask[:3] if rows == "too few" else mask
    try:
        loss = fg.mean_loss(F.cross_entropy, out, data.y, mask, data)
    except InputError as error:
        return str(error)
    loss.backward()
    return loss.item(), fg.accuracy(out, data.y, mask, data), data.node_ids, mask, fg.gather_rows(out.grad, data)


@pytest.mark.parametrize("rows", ["of all ranks", "of rank 0"])
def test_loss_is_the_global_mean_and_its_gradient_too(path, rows):
    whole = awkward_graph()
    answers = run_ranks(3, losses, path, rows)
    mask = torch.zeros(whole.num_nodes, dtype=torch.bool)
    for _, _, ids, own_mask, _ in answers:
        mask[ids] = own_mask
    out = whole.x[:, :NUM_CLASSES].clone().requires_grad_()
    loss = F.cross_entropy(out[mask], whole.y[mask])
    loss.backward()
    for value, accuracy, *_ in answers:
        assert value == pytest.approx(loss.item(), rel=1e-12)
        assert accuracy == pytest.approx((out[mask].argmax(1) == whole.y[mask]).double().mean().item())
    torch.testing.assert_close(answers[0][4], out.grad)


def test_a_mask_that_chooses_nothing_is_one_error_everywhere(path):
    assert run_ranks(3, losses, path, "none") == ["the mask chooses no row on any rank; a mean needs at least one"] * 3


def test_a_mask_of_the_wrong_length(path):
    data = fg.open(path)
    with pytest.raises(InputError, match=r"^a mask needs one entry for each of the 67 rows this rank owns: \(3,\)$"):
        fg.accuracy(data.x, data.y, data.train_mask[:3], data)


def test_rows_to_gather_must_be_all_owned_rows(path):
    data = fg.open(path)
    with pytest.raises(InputError, match=r"^gather_rows needs one row for each of the 67 nodes this rank owns: 3$"):
        fg.gather_rows(data.x[:3], data)
