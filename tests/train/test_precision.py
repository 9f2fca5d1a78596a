"""A run in each precision is what Lightning's name says: it has the losses of plain PyG, in the dtypes of that name."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fullgraph.bench.relational import quick_graph
from fullgraph.comm import World
from fullgraph.graph import Graph
from fullgraph.predict import predict
from fullgraph.pyg.models import build_model
from fullgraph.pyg.partition import partition
from fullgraph.train import TrainConfig, checkpoint, train
from fullgraph.train.inputs import DTYPES
from fullgraph.train.metrics import read_metrics
from tests.ranks import run_ranks
from tests.train.graphs import NUM_CLASSES, NUM_FEATURES, arrays, write_graph

pytestmark = pytest.mark.timeout(240)
BF16 = ("bf16-mixed", "bf16-true")
TOLERANCE = {"64-true": 1e-10, "32-true": 1e-5, "bf16-mixed": 2e-2, "bf16-true": 4e-2}
CONFIG = TrainConfig(hidden=8, epochs=3, dropout=0.0, lr=0.02, checkpoint_every=1, agree_every=1)
MODELS = {
    "gcn": CONFIG,
    "sage": replace(CONFIG, model="sage", norm="batch", num_layers=3),
    "gin": replace(CONFIG, model="gin", jump="cat"),
    "gat": replace(CONFIG, model="gat", heads=2),
}


@pytest.fixture(scope="module")
def graph(tmp_path_factory) -> Path:
    return write_graph(tmp_path_factory.mktemp("graph") / "small.fg", num_parts=2)


def _train(world: World, graph: Path, run: Path, config: TrainConfig, resume: bool = False) -> None:
    train(graph, run, config, world, resume=resume)


def _losses(run: Path) -> list[float]:
    return [line["train_loss"] for line in read_metrics(run)]


def plain_losses(config: TrainConfig) -> list[float]:
    """Of plain PyG on the whole graph."""
    values, dtype = arrays(), DTYPES[config.precision]
    given = {"hidden": 8, "num_layers": config.num_layers, "seed": 0, "heads": config.heads}
    norm, jump = None if config.norm == "none" else "batch_norm", None if config.jump == "none" else config.jump
    model: Any = build_model(config.model, NUM_FEATURES, NUM_CLASSES, norm=norm, jump=jump, **given).to(dtype)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.lr)
    x, edge_index = torch.from_numpy(values["x"]).to(dtype), torch.from_numpy(values["edge_index"])
    y, chosen, losses = torch.from_numpy(values["y"]), torch.from_numpy(values["train_idx"]), []
    for _ in range(config.epochs):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bf16-mixed"):
            out = model(x, edge_index)
        loss = F.cross_entropy(out.to(torch.promote_types(out.dtype, torch.float32))[chosen], y[chosen])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("model", MODELS)
def test_a_run_has_the_losses_of_a_loop_of_plain_pyg(model, precision, graph, tmp_path):
    config = replace(MODELS[model], precision=precision)
    expected = pytest.approx(plain_losses(config), rel=TOLERANCE[precision])
    for num_ranks in (1, 2):
        run = tmp_path / str(num_ranks)
        run_ranks(num_ranks, _train, graph, run, config)
        assert _losses(run) == expected, num_ranks
    saved = checkpoint.load(tmp_path / "2")[0]
    numbers = [value for value in saved.model.values() if value.is_floating_point()]
    numbers += [of["exp_avg"] for of in saved.optimizer["state"].values()]
    assert {value.dtype for value in numbers} == {DTYPES[precision]}


@pytest.mark.parametrize("precision", BF16)
def test_bfloat16_is_what_a_run_computes_in(precision, graph, tmp_path):
    train(graph, tmp_path / "whole", CONFIG, World())
    train(graph, tmp_path / "bf16", replace(CONFIG, precision=precision), World())
    whole, narrow = _losses(tmp_path / "whole"), _losses(tmp_path / "bf16")
    assert all(a != b for a, b in zip(whole, narrow, strict=True))
    assert narrow == pytest.approx(whole, rel=0.05)
    assert any(loss != torch.tensor(loss).bfloat16().item() for loss in narrow)  # the loss itself is float32


@pytest.mark.parametrize("precision", BF16)
@pytest.mark.parametrize("model", MODELS)
def test_a_resumed_run_has_the_same_bits(model, precision, graph, tmp_path):
    config = replace(MODELS[model], precision=precision, dropout=0.5)
    run_ranks(2, _train, graph, tmp_path / "whole", config)
    run_ranks(2, _train, graph, tmp_path / "stopped", replace(config, epochs=2))
    run_ranks(2, _train, graph, tmp_path / "stopped", config, True)
    assert _losses(tmp_path / "stopped") == _losses(tmp_path / "whole")


@pytest.mark.parametrize("precision", BF16)
@pytest.mark.parametrize("changed", [{"stream": True}, {"prune": True}, {"wire_dtype": "int8"}, {"mode": "keep"}])
def test_how_it_runs_changes_no_more_than_in_float32(changed, precision, graph, tmp_path):
    config = replace(CONFIG, model="sage", precision=precision, input_dropout=0.3, normalize_features=True)
    run_ranks(2, _train, graph, tmp_path / "as", config)
    run_ranks(2, _train, graph, tmp_path / "changed", replace(config, **changed))
    assert _losses(tmp_path / "changed") == pytest.approx(_losses(tmp_path / "as"), rel=TOLERANCE[precision])


@pytest.mark.parametrize("precision", BF16)
@pytest.mark.parametrize("model", ["rgcn", "hgt"])
def test_models_of_several_types(model, precision, tmp_path):
    partition(quick_graph(), tmp_path / "g.fg", num_parts=2, method="random")
    config = replace(CONFIG, model=model, checkpoint_every=0)
    for name in ("32-true", precision):
        run_ranks(2, _train, tmp_path / "g.fg", tmp_path / name, replace(config, precision=name))
    assert _losses(tmp_path / precision) == pytest.approx(_losses(tmp_path / "32-true"), rel=0.05)


@pytest.mark.parametrize("precision", TOLERANCE)
def test_predictions_are_those_of_an_evaluation(precision, graph, tmp_path):
    config = replace(MODELS["gin"], precision=precision, epochs=1)
    train(graph, tmp_path / "run", config, World())
    predict(graph, tmp_path / "run", tmp_path / "pred.npz", World())
    with np.load(tmp_path / "pred.npz") as predicted:
        logits, pred = torch.from_numpy(predicted["logits"]), predicted["pred"]
    assert logits.dtype == (torch.float64 if precision == "64-true" else torch.float32)
    assert torch.equal(logits, logits.bfloat16().to(logits.dtype)) == (precision in BF16)
    values = arrays()
    right = (pred == values["y"])[values["val_idx"]].mean()
    assert read_metrics(tmp_path / "run")[0]["val_scores"]["accuracy"] == pytest.approx(right)


def test_features_stored_in_bfloat16_stay_so_under_autocast(tmp_path):
    values = arrays()
    masks = {f"{name}_mask": np.isin(np.arange(120), values[f"{name}_idx"]) for name in ("train", "val", "test")}
    x = torch.from_numpy(values["x"]).bfloat16().float().numpy()
    whole = Graph.homogeneous(values["edge_index"], num_nodes=120, x=x, y=values["y"], **masks)
    config = replace(CONFIG, precision="bf16-mixed")
    losses = []
    for name, stored in (("float32", None), ("bfloat16", "bfloat16")):
        partition(whole, tmp_path / f"{name}.fg", num_parts=1, feature_dtype=stored)
        train(tmp_path / f"{name}.fg", tmp_path / name, config, World())
        losses.append(_losses(tmp_path / name))
    assert losses[0] == pytest.approx(losses[1], rel=TOLERANCE["bf16-mixed"])
