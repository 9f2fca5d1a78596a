"""Each task of nodes on 1, 2 and 3 ranks beside plain PyG: losses, weights and metrics; and labels that will not do."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import average_precision_score, f1_score, mean_absolute_error, r2_score, roc_auc_score
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor

from fullgraph.comm import World
from fullgraph.errors import InputError
from fullgraph.predict import predict
from fullgraph.train import Summary, TrainConfig, checkpoint, train
from fullgraph.train.metrics import read_metrics
from tests.ranks import run_ranks
from tests.train.graphs import arrays
from tests.train.tasks import Values, labelled, plain, write

pytestmark = pytest.mark.timeout(240)
EPOCHS = 3
SMALL = TrainConfig(model="sage", hidden=8, epochs=EPOCHS, dropout=0.0, lr=0.05, precision="64-true")
CONFIGS = {
    "multiclass": replace(SMALL, metric="accuracy,micro_f1,macro_f1,roc_auc,average_precision,loss"),
    "weighted": replace(SMALL, class_weight="balanced", metric="accuracy"),
    "multilabel": replace(SMALL, task="multilabel", metric="micro_f1,macro_f1,roc_auc,average_precision,loss"),
    "positive": replace(SMALL, task="multilabel", class_weight="balanced", metric="micro_f1"),
    "regression": replace(SMALL, task="regression", metric="mse,mae,r2,loss"),
}
LABELS = {"weighted": "multiclass", "positive": "multilabel"}
OUTPUTS = {"multiclass": 3, "multilabel": 4, "regression": 2}


def _loss(name: str, y: Tensor, trained: Tensor | None = None):
    """The loss of a program of plain torch; weights of classes are from the labels that are trained on."""
    known, task = ~y.isnan(), LABELS.get(name, name)
    if task == "regression":
        return lambda out: ((out - y) ** 2).mean()
    if task == "multiclass":
        weight = None
        if name == "weighted" and trained is not None:
            weight = torch.from_numpy(compute_class_weight("balanced", classes=np.arange(3), y=trained.numpy()))
        return lambda out: F.cross_entropy(out, y.long(), weight)
    ratio = torch.ones(4, dtype=torch.float64)
    if name == "positive" and trained is not None:
        ratio = (trained == 0).sum(0) / (trained == 1).sum(0).double()
    pos_weight = ratio.expand(y.shape)

    def bce(out: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(out[known], y[known], pos_weight=pos_weight[known])

    return bce


def _scores(name: str, out: Tensor, y: Tensor) -> dict[str, float]:
    """What sklearn finds."""
    truth, task = y.numpy(), LABELS.get(name, name)
    found = {"loss": float(_loss(name, y)(out))}
    if task == "regression":
        guess = out.numpy()
        found |= {"mse": float(((out - y) ** 2).mean()), "mae": mean_absolute_error(truth, guess)}
        return found | {"r2": r2_score(truth, guess)}
    if task == "multiclass":
        guess = out.argmax(-1).numpy()
        found |= {"accuracy": (guess == truth).mean(), "micro_f1": f1_score(truth, guess, average="micro")}
        found["macro_f1"] = f1_score(truth, guess, average="macro")
        columns = [(truth == each, out.log_softmax(-1)[:, each].numpy()) for each in range(3)]
    else:
        known = (~y.isnan()).numpy()
        columns = [(truth[known[:, c], c], out[:, c].numpy()[known[:, c]]) for c in range(4)]
        found["micro_f1"] = f1_score(truth[known], (out > 0).numpy()[known])
        found["macro_f1"] = np.mean([f1_score(true, guess > 0) for true, guess in columns])
    found["roc_auc"] = np.mean([roc_auc_score(*each) for each in columns])
    found["average_precision"] = np.mean([average_precision_score(*each) for each in columns])
    return found


def _train(world: World, graph: Path, run: Path, config: TrainConfig) -> Summary:
    return train(graph, run, config, world)


def _predict(world: World, graph: Path, run: Path, out: Path) -> None:
    predict(graph, run, out, world)


@pytest.mark.parametrize("name", CONFIGS)
def test_losses_weights_and_metrics_are_those_of_plain_pyg_on_any_number_of_ranks(name, tmp_path):
    task = LABELS.get(name, name)
    nodes = labelled(task)
    graph = write(tmp_path / "graph.fg", nodes)
    y = torch.from_numpy(nodes["y"]).double()
    masks = {each: torch.from_numpy(nodes[f"{each}_mask"]) for each in ("train", "val", "test")}
    trained = masks["train"]
    loss = _loss(name, y[trained], y[trained])
    losses, outs, model = plain(lambda out: loss(out[trained]), OUTPUTS[task], EPOCHS)
    lines = {}
    for num_ranks in (1, 2, 3):
        run = tmp_path / str(num_ranks)
        run_ranks(num_ranks, _train, graph, run, CONFIGS[name])
        lines[num_ranks] = read_metrics(run)
        assert [line["train_loss"] for line in lines[num_ranks]] == pytest.approx(losses, rel=1e-9)
        for line, out in zip(lines[num_ranks], outs, strict=True):
            for of, mask in masks.items():
                expected = _scores(name, out[mask], y[mask])
                found = line[f"{of}_scores"]
                assert list(found) == CONFIGS[name].metric.split(",")
                for metric, value in found.items():
                    in_float32 = metric in ("roc_auc", "average_precision")  # torchmetrics' own sums
                    assert value == pytest.approx(expected[metric], rel=1e-6 if in_float32 else 1e-9), metric
            assert line["val_loss"] == pytest.approx(float(_loss(name, y[masks["val"]])(out[masks["val"]])), rel=1e-9)
        ours = checkpoint.load(run)[0].model
        torch.testing.assert_close(ours, dict(model.state_dict()), rtol=1e-9, atol=1e-11)
    for mask in masks:
        first, *others = ([line[f"{mask}_scores"] for line in each] for each in lines.values())
        for other in others:
            for mine, theirs in zip(first, other, strict=True):
                assert mine == pytest.approx(theirs, rel=1e-9)
    out = model.eval()(torch.from_numpy(nodes["x"]).double(), _edge_index()).detach().numpy()
    train(graph, tmp_path / "last", replace(CONFIGS[name], eval_every=EPOCHS), World())
    run_ranks(2, _predict, graph, tmp_path / "last", tmp_path / "pred.npz")
    with np.load(tmp_path / "pred.npz") as predicted:
        wanted = {"multiclass": out.argmax(1), "multilabel": out > 0, "regression": out}[task]
        assert set(predicted) == {"node_ids", "pred"} | ({"logits"} if task != "regression" else set())
        np.testing.assert_allclose(predicted["pred"], wanted, rtol=1e-9, atol=1e-11)
        if task != "regression":
            np.testing.assert_allclose(predicted["logits"], out, rtol=1e-9, atol=1e-11)


def _edge_index() -> Tensor:
    return torch.from_numpy(arrays()["edge_index"])


def _with(nodes: Values, **changes: np.ndarray) -> Values:
    return {**nodes, **changes}


def test_the_task_is_what_the_labels_are(tmp_path):
    nodes, trained = labelled("regression"), labelled("regression")["train_mask"]
    ones = np.where(trained, np.arange(len(trained)) % 2, 0)
    for name, y, task in [
        ("one number", nodes["y"][:, 0], "regression"),
        ("a class", ones, "multiclass"),
        ("several labels", np.stack([ones, 1 - ones], 1), "multilabel"),
        ("yes or no", np.stack([ones, 1 - ones], 1).astype(bool), "multilabel"),
    ]:
        graph = write(tmp_path / f"{name}.fg", _with(nodes, y=y), num_parts=1)
        assert train(graph, tmp_path / name, replace(SMALL, epochs=1), World()).task == task


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, bool])
def test_classes_may_be_of_any_whole_number_type(tmp_path, dtype):
    nodes = labelled("multiclass")
    y = (nodes["y"] > 0).astype(np.int64)
    config = replace(SMALL, class_weight="balanced", metric="accuracy,macro_f1,roc_auc,average_precision")
    lines = []
    for name, labels in (("int64", y), ("other", y.astype(dtype))):
        graph = write(tmp_path / f"{name}.fg", _with(nodes, y=labels), num_parts=1)
        train(graph, tmp_path / name, config, World())
        lines.append([[each["train_loss"], each["val_scores"]] for each in read_metrics(tmp_path / name)])
    assert lines[0] == lines[1]


@pytest.mark.parametrize(
    ("y", "changes", "message"),
    [
        (
            lambda y, masks: y.astype(np.float32),
            {},
            (
                "real numbers in several columns of y can be labels of 0, 1 and NaN, or targets; say which with --task "
                "multilabel or --task regression; y is float32 of row shape: [4]"
            ),
        ),
        (
            lambda y, masks: y,
            {"task": "multiclass"},
            (
                "the task multiclass needs one integer class per node in the array y; the graph's y is float32 of row "
                "shape: [4]"
            ),
        ),
        (
            lambda y, masks: y[:, 0],
            {"task": "multilabel"},
            (
                "the task multilabel needs an array y [num_nodes, num_labels] of 0, 1 and, where a label is missing, "
                "NaN; the graph's y is of row shape: []"
            ),
        ),
        (
            lambda y, masks: np.where(masks["val_mask"][:, None], -1, y),
            {"task": "multilabel"},
            (
                "val_mask selects a node with a label that is neither 0, 1 nor NaN (missing); mend y, or leave such "
                "nodes out of the masks, and partition again; labels of that kind: 140"
            ),
        ),
        (
            lambda y, masks: np.where(masks["test_mask"][:, None], np.nan, y),
            {"task": "multilabel"},
            "test_mask selects only nodes without labels; leave it out, or mend y: all are NaN",
        ),
        (
            lambda y, masks: np.where(masks["val_mask"][:, None], 1, y),
            {"task": "multilabel", "metric": "micro_f1,roc_auc"},
            (
                "among the nodes of val_mask no column of the labels has both a 0 and a 1, which roc_auc and "
                "average_precision need"
            ),
        ),
        (
            lambda y, masks: y,
            {"task": "regression"},
            (
                "train_mask selects a node whose label is not finite; leave such nodes out of the masks and partition "
                "again; labels that are not finite: {not_finite}"
            ),
        ),
        (
            lambda y, masks: np.ones(len(y)),
            {"metric": "r2"},
            "among the nodes of train_mask r2 needs labels that differ; choose --metric mse or mae",
        ),
        (
            lambda y, masks: np.ones(len(y)),
            {"metric": "mse,accuracy"},
            "metric for the task regression must be among mse, mae, r2, loss: 'accuracy'",
        ),
        (
            lambda y, masks: np.ones(len(y)),
            {"class_weight": "balanced"},
            (
                "class_weight is for the tasks multiclass and multilabel, but the task is regression; leave it out: "
                "balanced"
            ),
        ),
    ],
)
def test_labels_and_options_that_will_not_do_are_refused_by_name(tmp_path, y, changes, message):
    nodes = labelled("multilabel")
    not_finite = int(np.isnan(nodes["y"][nodes["train_mask"]]).sum())
    graph = write(tmp_path / "graph.fg", _with(nodes, y=y(nodes["y"], nodes).astype(np.float32)), num_parts=1)
    with pytest.raises(InputError) as caught:
        train(graph, tmp_path / "run", replace(SMALL, **changes), World())
    assert str(caught.value) == message.format(not_finite=not_finite)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("metric", "best"), [("mae", min), ("r2", max), ("loss", min)])
def test_the_first_metric_says_which_epoch_is_the_best_and_when_to_stop(tmp_path, metric, best):
    graph = write(tmp_path / "graph.fg", labelled("regression"), num_parts=1)
    config = replace(CONFIGS["regression"], metric=f"{metric},mse", epochs=60, patience=2, lr=0.3)
    summary = train(graph, tmp_path / "run", config, World())
    values = [line["val_scores"][metric] for line in read_metrics(tmp_path / "run")]
    assert summary.best_epoch == values.index(best(values)) + 1
    assert summary.epochs == summary.best_epoch + 2 < 60
