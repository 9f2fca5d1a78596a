"""A run on one rank and on several, stopped and resumed: the folder it leaves and the losses it reports."""

import json
import re
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from fullgraph.comm import World
from fullgraph.errors import FullgraphError, GraphMismatch, InputError
from fullgraph.train import Summary, TrainConfig, files, read_summary, train
from fullgraph.train.metrics import read_metrics
from tests.ranks import run_ranks
from tests.train.graphs import write_graph

CONFIG = TrainConfig(hidden=8, epochs=4, dropout=0.5, norm="batch", precision="64-true", checkpoint_every=2)
ANOTHER = "leave the option out, or start a new run with its own --run folder"


def _train(world: World, graph: Path, run: Path, config: TrainConfig, resume: bool = False) -> Summary:
    return train(graph, run, config, world, resume=resume)


def _losses(run: Path) -> list[float]:
    return [line["train_loss"] for line in read_metrics(run)]


@pytest.fixture(scope="module")
def graph(tmp_path_factory) -> Path:
    return write_graph(tmp_path_factory.mktemp("graph") / "small.fg", num_parts=2)


@pytest.fixture(scope="module")
def run(graph, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    train(graph, folder, CONFIG, World())
    return folder


def test_a_run_folder_holds_everything(run):
    assert {each.name for each in run.iterdir()} == {
        files.CONFIG,
        files.METRICS,
        files.SUMMARY,
        files.CHECKPOINTS,
        files.LOCK,
        files.TENSORBOARD,
    }
    assert json.loads((run / files.CONFIG).read_text()) == asdict(replace(CONFIG, task="multiclass"))
    assert [each.name.split(".")[:3] for each in (run / files.TENSORBOARD).iterdir()] == [["events", "out", "tfevents"]]
    metrics = read_metrics(run)
    assert [line["epoch"] for line in metrics] == [1, 2, 3, 4]
    summary = json.loads((run / files.SUMMARY).read_text())
    assert read_summary(run) == Summary(**{key: value for key, value in summary.items() if key != "checksum"})
    best = max(metrics, key=lambda line: (line["val_scores"]["accuracy"], -line["val_loss"]))
    assert summary["best_epoch"] == best["epoch"]
    for name in ("train_loss", "val_loss", "train_scores", "val_scores", "test_scores"):
        assert summary[name] == best[name], name
    assert (summary["num_ranks"], summary["num_parts"], summary["mode"], summary["model"]) == (1, 2, "sar", "gcn")
    assert (summary["epochs"], summary["last_train_loss"]) == (4, metrics[-1]["train_loss"])
    assert summary["epoch_seconds_median"] > 0
    assert len(summary["peak_memory_bytes_per_rank"]) == 1
    assert summary["bytes_sent_per_epoch_per_rank"] == [0]


@pytest.mark.timeout(120)
def test_two_ranks_train_the_same_model_and_count_what_they_send(graph, run, tmp_path):
    summaries = run_ranks(2, _train, graph, tmp_path / "two", CONFIG)
    assert summaries[0] == summaries[1]
    assert _losses(tmp_path / "two") == pytest.approx(_losses(run), abs=1e-12)
    assert all(sent > 0 for sent in summaries[0].bytes_sent_per_epoch_per_rank)
    assert len(summaries[0].peak_memory_bytes_per_rank) == 2


def test_a_run_depends_on_its_seed_alone_and_leaves_the_callers_random_state(graph, run, tmp_path):
    torch.manual_seed(7)
    before = torch.get_rng_state()
    train(graph, tmp_path / "same", CONFIG, World())
    assert torch.equal(torch.get_rng_state(), before)
    assert _losses(tmp_path / "same") == _losses(run)
    train(graph, tmp_path / "other", replace(CONFIG, seed=1), World())
    assert _losses(tmp_path / "other") != _losses(run)


def test_a_resumed_run_reports_what_an_uninterrupted_one_does(graph, run, tmp_path):
    train(graph, tmp_path, replace(CONFIG, epochs=3), World())
    with (tmp_path / files.METRICS).open("a") as file:
        file.write('{"epoch": 4, "train_loss": 0.0}\n{"epoch": 5, "tr')  # as a killed process leaves it
    summary = train(graph, tmp_path, CONFIG, World(), resume=True)
    assert _losses(tmp_path) == _losses(run)
    assert summary.last_train_loss == _losses(run)[-1]
    whole = json.loads((run / files.SUMMARY).read_text())
    assert (summary.best_epoch, summary.val_scores) == (whole["best_epoch"], whole["val_scores"])


def test_what_cannot_be_resumed_is_refused(graph, run, tmp_path):
    for config, resume, message in [
        (
            CONFIG,
            False,
            f"the run folder holds a run already; add --resume to go on with it, or give another --run: {run}",
        ),
        (CONFIG, True, "the run has finished; to go on, give more --epochs or --patience than its: 4 epochs"),
        (
            replace(CONFIG, hidden=4),
            True,
            f"the run was begun with hidden 8 and cannot be resumed with another; {ANOTHER}: 4",
        ),
    ]:
        with pytest.raises(InputError) as caught:
            train(graph, run, config, World(), resume=resume)
        assert str(caught.value) == message
    other = write_graph(tmp_path / "other.fg", num_parts=2, seed=1)
    with pytest.raises(GraphMismatch, match=r"^the run was begun on another graph \(checksum "):
        train(other, run, replace(CONFIG, epochs=9), World(), resume=True)


@pytest.mark.parametrize("schedule", ["cosine", "step"])
def test_early_stopping_and_schedules(graph, tmp_path, schedule):
    config = replace(CONFIG, epochs=40, patience=2, schedule=schedule, step_epochs=1, lr=0.1, seed=3)
    summary = train(graph, tmp_path, config, World())
    assert summary.epochs == summary.best_epoch + 2 < 40
    rates = [line["lr"] for line in read_metrics(tmp_path)]
    assert rates[0] == 0.1
    assert all(after < before for before, after in pairwise(rates))


def test_a_loss_that_is_not_finite_stops_the_run(graph, tmp_path):
    config = replace(CONFIG, lr=1e200, norm="none", epochs=9)
    with pytest.raises(FullgraphError) as caught:
        train(graph, tmp_path, config, World())
    epoch = len(read_metrics(tmp_path)) + 1
    assert re.fullmatch(
        rf"the loss, (nan|inf), is not finite in epoch {epoch}, so the model was not changed; try a smaller --lr, or "
        r"look at the features' scale; the first output that is not finite is that of layer convs\.\d.*, on rank 0",
        str(caught.value),
    )


@pytest.mark.parametrize(
    ("without", "changes", "message"),
    [
        (
            ("x",),
            {},
            "training needs node features, but the graph has no array x; store x and partition again: {graph}",
        ),
        (("y",), {}, "training needs a label per node, but the graph has no array y of that kind: {graph}"),
        (
            ("train_mask",),
            {},
            "training needs a train_mask that selects at least one node; masks of the graph that select any: val, test",
        ),
        (
            ("val_mask",),
            {"patience": 3},
            "patience needs a val_mask that selects at least one node; masks of the graph that select any: train, test",
        ),
        ((), {"split": 1}, "the graph's train_mask has 1 splits, counted from 0; split is: 1"),
    ],
)
def test_a_graph_that_cannot_be_trained_on_is_refused(tmp_path, without, changes, message):
    graph = write_graph(tmp_path / "small.fg", num_parts=1, without=without)
    with pytest.raises(InputError) as caught:
        train(graph, tmp_path / "run", replace(CONFIG, **changes), World())
    assert str(caught.value) == message.format(graph=graph)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("model", ["sage", "gin"])
def test_features_left_on_disk_train_to_the_same_losses(model, graph, tmp_path):
    config = replace(CONFIG, model=model, normalize_features=True, input_dropout=0.3)
    train(graph, tmp_path / "in memory", config, World())
    run_ranks(2, _train, graph, tmp_path / "on disk", replace(config, stream=True))
    assert _losses(tmp_path / "on disk") == pytest.approx(_losses(tmp_path / "in memory"), rel=1e-9)


def _traced(world: World, graph: Path, run: Path, epochs: int, trace: Path) -> None:
    train(graph, run, replace(CONFIG, epochs=epochs), world, trace=trace)


@pytest.mark.parametrize(("epochs", "traced"), [(4, 3), (2, 2)])
def test_one_epoch_is_traced_on_all_ranks(graph, tmp_path, epochs, traced):
    trace = tmp_path / "trace.json"
    run_ranks(2, _traced, graph, tmp_path / "run", epochs, trace)
    names = [(each["pid"], each["name"]) for each in json.loads(trace.read_text())["traceEvents"]]
    for rank in (0, 1):
        assert [name for pid, name in names if pid == rank and name.startswith("epoch ")] == [f"epoch {traced}"]
        assert names.count((rank, "evaluation")) == 1
        assert names.count((rank, "walk: sum, forward")) == 2  # of layer 1, in training and in evaluation
        assert names.count((rank, "walk: sum, backward")) == 1
    assert _losses(tmp_path / "run") == pytest.approx(
        _losses_of_untraced(graph, tmp_path / "untraced", epochs), abs=1e-12
    )


def _losses_of_untraced(graph: Path, run: Path, epochs: int) -> list[float]:
    train(graph, run, replace(CONFIG, epochs=epochs), World())
    return _losses(run)


def test_a_trace_that_cannot_be_written_is_refused_before_anything_is_made(graph, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="the trace cannot be written"):
        train(graph, tmp_path / "run", CONFIG, World(), trace=tmp_path / "file" / "trace.json")
    assert not (tmp_path / "run").exists()
