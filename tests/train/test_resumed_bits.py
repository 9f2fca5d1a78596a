"""In float32 on several threads, on a graph worth them, a resumed run has every bit of one that was not stopped."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fullgraph.comm import init
from fullgraph.comm.launch import launch
from fullgraph.datasets.synthetic import Size, synthetic
from fullgraph.pyg.partition import partition
from fullgraph.train import TrainConfig, checkpoint, train
from fullgraph.train.metrics import read_metrics

NUM_THREADS = 3
SIZE = Size(num_nodes=20_000, num_edges=200_000, num_communities=5, num_features=24, num_classes=5)


@pytest.fixture(scope="module")
def graph(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("graph") / "g.fg"
    partition(synthetic(SIZE), path, num_parts=2, method="random")
    return path


def _rank(graph: Path, run: Path, config: TrainConfig, resume: bool) -> int:
    world = init()
    train(graph, run, config, world, resume=resume)
    world.close()
    return torch.get_num_threads()


def _state(run: Path) -> dict[str, torch.Tensor]:
    last, _ = checkpoint.load(run)
    moments = {f"{at} {key}": value for at, of in last.optimizer["state"].items() for key, value in of.items()}
    return {**last.model, **moments, "draws": last.randomness}


@pytest.mark.parametrize("num_ranks", [1, 2])
@pytest.mark.parametrize("model", ["gcn", "sage", "gat"])
def test_resuming_in_float32_on_several_threads_changes_no_bit(model, num_ranks, graph, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", str(NUM_THREADS))
    config, whole, resumed = TrainConfig(model=model, hidden=24, epochs=6, norm="batch"), tmp_path / "a", tmp_path / "b"
    for run, epochs, resume in ((whole, 6, False), (resumed, 3, False), (resumed, 6, True)):
        threads = launch(_rank, graph, run, replace(config, epochs=epochs), resume, num_ranks=num_ranks)
        assert threads == [NUM_THREADS] * num_ranks
    assert [line["train_loss"] for line in read_metrics(resumed)] == [
        line["train_loss"] for line in read_metrics(whole)
    ]
    expected, found = _state(whole), _state(resumed)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert value.dtype != torch.float64
        assert torch.equal(found[name], value), name
