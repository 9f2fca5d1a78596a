"""A run with ``prune`` is the run without it, but for the rows that an epoch computes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fullgraph.comm import World
from fullgraph.errors import InputError
from fullgraph.predict import predict
from fullgraph.train import Summary, TrainConfig, train
from fullgraph.train.metrics import read_metrics
from tests.ranks import run_ranks
from tests.train.graphs import write_graph

CONFIG = TrainConfig(hidden=8, epochs=3, dropout=0.5, input_dropout=0.2, precision="64-true", normalize_features=True)
MODELS = {
    "gcn": replace(CONFIG, jump="cat"),
    "sage": replace(CONFIG, model="sage"),
    "gin": replace(CONFIG, model="gin"),
    "gat": replace(CONFIG, model="gat", heads=2),
}
SCORES = ("train_scores", "val_scores", "test_scores")


@pytest.fixture(scope="module")
def graph(tmp_path_factory) -> Path:
    """Three labelled nodes."""
    return write_graph(tmp_path_factory.mktemp("graph") / "small.fg", num_parts=4, num_trained=3)


@pytest.fixture(scope="module")
def whole(graph, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")

    def run(model: str) -> Path:
        if not (folder / model).exists():
            train(graph, folder / model, MODELS[model], World())
        return folder / model

    return run


def _train(world: World, graph: Path, run: Path, config: TrainConfig, resume: bool = False) -> Summary:
    return train(graph, run, config, world, resume=resume)


def _measured(run: Path) -> list[list[float]]:
    lines = read_metrics(run)
    return [[line["train_loss"], line["val_loss"], *(line[each]["accuracy"] for each in SCORES)] for line in lines]


def _assert_same(run: Path, wanted: Path) -> None:
    assert len(_measured(wanted)) == CONFIG.epochs
    for line, expected in zip(_measured(run), _measured(wanted), strict=True):
        assert line == pytest.approx(expected, rel=1e-9)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("num_ranks", [1, 2, 4])
@pytest.mark.parametrize("model", MODELS)
def test_losses_and_accuracies_are_those_of_all_rows(graph, whole, model, num_ranks, tmp_path):
    run_ranks(num_ranks, _train, graph, tmp_path, replace(MODELS[model], prune=True))
    _assert_same(tmp_path, whole(model))


@pytest.mark.timeout(120)
def test_an_epoch_sends_less(graph, tmp_path):
    config = replace(MODELS["sage"], num_layers=3, held_mib=0)
    (pruned, *_), (all_rows, *_) = (
        run_ranks(2, _train, graph, tmp_path / str(prune), replace(config, prune=prune)) for prune in (True, False)
    )
    assert sum(pruned.bytes_sent_per_epoch_per_rank) < sum(all_rows.bytes_sent_per_epoch_per_rank) / 2


@pytest.mark.timeout(120)
def test_features_left_on_disk(graph, whole, tmp_path):
    run_ranks(2, _train, graph, tmp_path, replace(MODELS["sage"], prune=True, stream=True))
    _assert_same(tmp_path, whole("sage"))


@pytest.mark.parametrize("prunes_first", [True, False])
def test_a_run_may_go_on_with_or_without(graph, whole, prunes_first, tmp_path):
    config = MODELS["gat"]
    train(graph, tmp_path, replace(config, epochs=1, prune=prunes_first), World())
    train(graph, tmp_path, replace(config, prune=not prunes_first), World(), resume=True)
    _assert_same(tmp_path, whole("gat"))


def test_predictions_are_those_of_the_run_on_all_rows(graph, whole, tmp_path):
    train(graph, tmp_path / "pruned", replace(MODELS["gcn"], prune=True), World())
    logits = []
    for run in (tmp_path / "pruned", whole("gcn")):
        predict(graph, run, tmp_path / "pred.npz", World())
        with np.load(tmp_path / "pred.npz") as predicted:
            logits.append(predicted["logits"])
    np.testing.assert_allclose(*logits, rtol=1e-9, atol=1e-12)


@pytest.mark.timeout(120)
def test_batch_norm_of_computed_rows_does_not_depend_on_ranks_and_is_another_run(graph, tmp_path):
    config = replace(CONFIG, model="gin", norm="batch", prune=True, pruned_norm="computed")
    train(graph, tmp_path / "one", config, World())
    run_ranks(2, _train, graph, tmp_path / "two", config)
    _assert_same(tmp_path / "two", tmp_path / "one")
    whole = replace(config, prune=False, pruned_norm="refuse")
    train(graph, tmp_path / "whole", whole, World())
    assert _measured(tmp_path / "whole")[0][0] != pytest.approx(_measured(tmp_path / "one")[0][0], rel=1e-3)
    with pytest.raises(InputError) as caught:
        train(graph, tmp_path / "one", replace(whole, epochs=9), World(), resume=True)
    assert str(caught.value).startswith("the run was begun with pruned_norm 'computed' and cannot be resumed with")
