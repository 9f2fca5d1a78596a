"""Link prediction on 1, 2 and 3 ranks beside plain PyG, whose split, pairs and metrics are made here in another way."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import average_precision_score, roc_auc_score

from fullgraph.bench.relational import quick_graph
from fullgraph.comm import World
from fullgraph.errors import InputError
from fullgraph.graph import Graph
from fullgraph.predict import predict
from fullgraph.pyg.partition import partition
from fullgraph.train import Summary, TrainConfig, checkpoint, train
from fullgraph.train.metrics import read_metrics
from fullgraph.train.tasks.link import Linked
from tests.ranks import run_ranks
from tests.train.graphs import NUM_NODES, arrays, write_graph
from tests.train.tasks import plain

pytestmark = pytest.mark.timeout(240)
CONFIG = TrainConfig(
    task="link",
    model="sage",
    hidden=8,
    epochs=3,
    dropout=0.0,
    lr=0.05,
    precision="64-true",
    seed=0,
    val_edges=0.1,
    test_edges=0.2,
    metric="mrr,hits@1,hits@10,hits@50,roc_auc,average_precision,loss",
)
M64 = (1 << 64) - 1


def _hash(z: int) -> int:
    z &= M64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & M64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & M64
    return z ^ (z >> 31)


def _key(*numbers: int) -> int:
    key = 0
    for number in numbers:
        key = _hash(key + number + 1)
    return key


def _uniform(key: int, row: int) -> float:
    return (_hash(key + row * 0x9E3779B97F4A7C15) >> 11) * 2.0**-53


def _split(edge_index: np.ndarray) -> np.ndarray:
    split = []
    for u, v in edge_index.T.tolist():
        draw = _uniform(_key(CONFIG.seed), _hash(_hash(min(u, v)) + max(u, v)))
        split.append(0 if u == v else 1 if draw < 0.1 else 2 if draw < 0.1 + 0.2 else 0)
    return np.array(split)


def _not_linked(edges: set[tuple[int, int]], count: int, epoch: int) -> torch.Tensor:
    """About ``count`` pairs [2, n] in the order of their destinations."""
    pairs, each = [], count / NUM_NODES
    for v in range(NUM_NODES):
        wanted = int(each) + (_uniform(_key(CONFIG.seed, epoch, 16), v) < each - int(each))
        for column in range(wanted):
            tries = (int(_uniform(_key(CONFIG.seed, epoch, t), _hash(v) + column) * NUM_NODES) for t in range(16))
            u = next((u for u in tries if u != v and (u, v) not in edges), None)
            if u is not None:
                pairs.append((u, v))
    return torch.tensor(pairs).T


def _metrics(linked: np.ndarray, others: np.ndarray) -> dict[str, float]:
    """One positive after another, as OGB has it."""
    above = np.array([(others > score).sum() for score in linked])
    equal = np.array([(others == score).sum() for score in linked])
    found = {"mrr": (1 / ((above + (above + equal)) / 2 + 1)).mean()}
    best = np.r_[np.sort(others)[::-1], np.full(50, -np.inf)]  # with fewer than k, all are hits
    found |= {f"hits@{k}": (linked > best[k - 1]).mean() for k in (1, 10, 50)}
    truth, scores = np.r_[np.ones(len(linked)), np.zeros(len(others))], np.r_[linked, others]
    found["roc_auc"] = roc_auc_score(truth, scores)
    return found | {"average_precision": average_precision_score(truth, scores)}


def _write(path: Path, edge_index: np.ndarray, num_parts: int = 3, **edge_arrays: np.ndarray) -> Path:
    graph = Graph.homogeneous(edge_index, num_nodes=NUM_NODES, x=arrays()["x"], edge_arrays=edge_arrays)
    partition(graph, path, num_parts=num_parts, method="random")
    return path


def _undirected() -> np.ndarray:
    """Both directions of each edge, some of them twice, with self-loops."""
    edge_index = arrays()["edge_index"]
    return np.concatenate([edge_index, edge_index[::-1], np.tile(np.arange(5), (2, 1))], 1)


def _train(world: World, graph: Path, run: Path, config: TrainConfig) -> Summary:
    return train(graph, run, config, world)


def _predict(world: World, graph: Path, run: Path, out: Path, pairs: Path | None) -> None:
    predict(graph, run, out, world, pairs)


@pytest.mark.parametrize("has_split", [False, True])
def test_losses_weights_and_metrics_are_those_of_plain_pyg_on_any_number_of_ranks(has_split, tmp_path):
    edge_index = _undirected()
    split = _split(edge_index)
    assert {*np.unique(split)} == {0, 1, 2}
    given = {}
    if has_split:  # with pairs to validate and to test on that are no links
        rng = np.random.default_rng(3)
        edge_index = np.concatenate([edge_index, rng.integers(NUM_NODES, size=(2, 60))], 1)
        split = np.concatenate([rng.permutation(split), np.full(30, 3), np.full(30, 4)])
        given = {"edge_split": split}
    graph = _write(tmp_path / "graph.fg", edge_index, **given)
    between = torch.from_numpy(edge_index[0] != edge_index[1])
    of = [torch.from_numpy(edge_index)[:, torch.from_numpy(split == number) & between] for number in range(5)]
    message = edge_index[:, split == 0]
    known = {"train": set(zip(*of[0].tolist(), strict=True)), "all": set(zip(*edge_index.tolist(), strict=True))}
    epoch = 0

    def logits(z: torch.Tensor, pairs: torch.Tensor) -> torch.Tensor:
        return (z[pairs[0]] * z[pairs[1]]).sum(-1)

    def bce(z: torch.Tensor, linked: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        return -F.logsigmoid(logits(z, linked)).mean() - F.logsigmoid(-logits(z, others)).mean()

    def loss(z: torch.Tensor) -> torch.Tensor:
        nonlocal epoch
        epoch += 1
        return bce(z, of[0], _not_linked(known["train"], of[0].shape[1], epoch))

    losses, outs, model = plain(loss, CONFIG.hidden, CONFIG.epochs, message)
    judged = {
        name: (of[at], of[at + 2] if has_split else _not_linked(known["all"], of[at].shape[1], 1 - at))
        for at, name in ((1, "val"), (2, "test"))
    }
    for num_ranks in (1, 2, 3):
        run = tmp_path / str(num_ranks)
        run_ranks(num_ranks, _train, graph, run, CONFIG)
        lines = read_metrics(run)
        assert [line["train_loss"] for line in lines] == pytest.approx(losses, rel=1e-9)
        for line, z in zip(lines, outs, strict=True):
            for name, (linked, others) in judged.items():
                expected = _metrics(logits(z, linked).numpy(), logits(z, others).numpy())
                expected["loss"] = bce(z, linked, others).item()
                assert list(line[f"{name}_scores"]) == CONFIG.metric.split(",")
                for metric, value in line[f"{name}_scores"].items():
                    in_float32 = metric in ("roc_auc", "average_precision")
                    assert value == pytest.approx(expected[metric], rel=1e-6 if in_float32 else 1e-9), metric
            assert line["val_loss"] == line["val_scores"]["loss"]
            assert line["train_scores"] is None
        ours = {name.removeprefix("encoder."): value for name, value in checkpoint.load(run)[0].model.items()}
        torch.testing.assert_close(ours, dict(model.state_dict()), rtol=1e-9, atol=1e-11)


def test_both_directions_and_all_copies_of_an_edge_are_on_one_side():
    edge_index = _undirected()
    sides: dict[tuple[int, int], set[int]] = {}
    for (u, v), side in zip(edge_index.T.tolist(), _split(edge_index).tolist(), strict=True):
        sides.setdefault((min(u, v), max(u, v)), set()).add(side)
    assert max(len(each) for each in sides.values()) == 1


@pytest.mark.parametrize(("model", "num_ranks"), [("sage", 1), ("sage", 3), ("rgcn", 2)])
def test_pairs_are_predicted_by_the_decoder_of_the_run(model, num_ranks, tmp_path):
    """R-GCN has a learned row for each node, so that the graph needs no features."""
    without = Graph.homogeneous(_undirected(), num_nodes=NUM_NODES)
    graph = tmp_path / "graph.fg"
    if model == "rgcn":
        partition(without, graph, num_parts=3)
    else:
        _write(graph, _undirected())
    config = replace(CONFIG, model=model, decoder="mlp", patience=2, metric="roc_auc")
    train(graph, tmp_path / "one", config, World())
    run_ranks(num_ranks, _train, graph, tmp_path / "run", config)
    for ours, theirs in zip(read_metrics(tmp_path / "run"), read_metrics(tmp_path / "one"), strict=True):
        assert ours["train_loss"] == pytest.approx(theirs["train_loss"], rel=1e-9)
        assert ours["val_scores"] == pytest.approx(theirs["val_scores"], rel=1e-9)
    pairs = np.random.default_rng(0).integers(NUM_NODES, size=(17, 2)).astype(np.int32)
    np.save(tmp_path / "pairs.npy", pairs)
    run_ranks(num_ranks, _predict, graph, tmp_path / "run", tmp_path / "pred.npz", tmp_path / "pairs.npy")
    decoder = Linked(torch.nn.Identity(), "mlp", CONFIG.hidden).double()
    state = checkpoint.load(tmp_path / "run")[0].best_model
    decoder.load_state_dict({name: value for name, value in state.items() if name.startswith("layers.")})
    with np.load(tmp_path / "pred.npz") as predicted:
        assert predicted["rows"].shape == (NUM_NODES, CONFIG.hidden)
        np.testing.assert_array_equal(predicted["pairs"], pairs)
        ends = torch.from_numpy(predicted["rows"])[torch.from_numpy(pairs).long()]
        with torch.no_grad():
            expected = decoder.decode(ends[:, 0], ends[:, 1]).numpy()
        np.testing.assert_allclose(predicted["logits"], expected, rtol=1e-9, atol=1e-11)
    predict(graph, tmp_path / "run", tmp_path / "rows.npz", World())
    with np.load(tmp_path / "rows.npz") as predicted:
        assert set(predicted) == {"node_ids", "rows"}


def _complete() -> np.ndarray:
    return np.stack(np.meshgrid(np.arange(NUM_NODES), np.arange(NUM_NODES))).reshape(2, -1)


@pytest.mark.parametrize(
    ("edge_index", "edge_arrays", "changes", "message"),
    [
        (_undirected, {}, {"prune": True}, "prune is for tasks of nodes, but the task is link; leave it out: True"),
        (
            _undirected,
            {},
            {"class_weight": "balanced"},
            "class_weight is for the tasks multiclass and multilabel, but the task is link; leave it out: balanced",
        ),
        (
            _undirected,
            {"edge_split": 5},
            {},
            "edge_split must be 0 (train), 1 (val), 2 (test), 3 (no link, for val) or 4 (no link, for test): 5",
        ),
        (
            _undirected,
            {"edge_split": 0.5},
            {},
            "edge_split must have a whole number per edge: torch.float64 [{num_edges}]",
        ),
        (
            _undirected,
            {"edge_split": 1},
            {},
            (
                "the task link needs an edge for train, but there is none between two nodes; change the fractions or "
                "the seed of the split; edges of the graph: {num_edges}"
            ),
        ),
        (
            _undirected,
            {},
            {"val_edges": 0.0, "patience": 1},
            (
                "the task link needs an edge for val, but there is none between two nodes; change the fractions or "
                "the seed of the split; edges of the graph: {num_edges}"
            ),
        ),
        (
            _complete,
            {},
            {},
            (
                "the task link needs pairs without an edge for val, but 16 draws for each found none; edges of the "
                "graph: {num_edges}"
            ),
        ),
    ],
)
def test_graphs_and_options_that_will_not_do_are_refused_by_name(tmp_path, edge_index, edge_arrays, changes, message):
    num_edges = edge_index().shape[1]
    filled = {name: np.full(num_edges, value) for name, value in edge_arrays.items()}
    graph = _write(tmp_path / "graph.fg", edge_index(), 1, **filled)
    with pytest.raises(InputError) as caught:
        train(graph, tmp_path / "run", replace(CONFIG, **changes), World())
    assert str(caught.value) == message.format(num_edges=num_edges)
    assert not (tmp_path / "run").exists()


def test_a_graph_of_several_types_is_refused(tmp_path):
    partition(quick_graph(), tmp_path / "papers.fg", num_parts=1)
    with pytest.raises(InputError) as caught:
        train(tmp_path / "papers.fg", tmp_path / "run", replace(CONFIG, model="rgcn", target="paper"), World())
    assert str(caught.value) == ("the task link is for graphs of one node type and relation; this one has relations: 2")


def test_pairs_that_will_not_do_are_refused(tmp_path):
    graph = _write(tmp_path / "graph.fg", _undirected(), 1)
    train(graph, tmp_path / "run", replace(CONFIG, epochs=1), World())
    path = tmp_path / "pairs.npy"
    for pairs, message in [
        (np.array([[0, NUM_NODES]]), f"pairs must have ids from 0 to {NUM_NODES - 1}: {NUM_NODES}"),
        (np.array([0, 1]), "pairs must be whole numbers [n, 2]: torch.int64 [2]"),
        (np.array([[0.5, 1.0]]), "pairs must hold whole numbers (int64 or int32), cast it first: float64"),
    ]:
        np.save(path, pairs)
        with pytest.raises(InputError) as caught:
            predict(graph, tmp_path / "run", tmp_path / "pred.npz", World(), path)
        assert str(caught.value) == message
    path.write_bytes(b"no array")
    with pytest.raises(InputError, match=r"^the pairs cannot be read as \.npy "):
        predict(graph, tmp_path / "run", tmp_path / "pred.npz", World(), path)
    nodes = write_graph(tmp_path / "nodes.fg", num_parts=1)
    train(nodes, tmp_path / "nodes", TrainConfig(hidden=4, epochs=1), World())
    np.save(path, np.array([[0, 1]]))
    with pytest.raises(InputError) as caught:
        predict(nodes, tmp_path / "nodes", tmp_path / "pred.npz", World(), path)
    assert str(caught.value) == ("pairs are for the task link; leave --pairs out, the model's task is: multiclass")
