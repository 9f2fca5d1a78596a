"""Trains what a paper trained, by the paper's own rules, on this rank's share of a graph or on a whole one."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Module
from torch.optim import Optimizer

import fullgraph as fg
from fullgraph.bench.graphs import pyg_data
from fullgraph.bench.recipes import RECIPES, Recipe
from fullgraph.bench.stopping import Scores
from fullgraph.config import WireDtype
from fullgraph.datasets import load


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One run.

    Attributes:
        scores: of the epoch that the recipe chose.
        losses: of each epoch.
        rows_bytes: bytes of rows that this rank sent in all of them and their evaluations.
    """

    scores: Scores
    losses: list[float]
    rows_bytes: int = 0


def train_rank(
    path: Path,
    name: str,
    seeds: range,
    max_epochs: int | None = None,
    wire_dtype: WireDtype = "float32",
    *,
    is_mixed: bool = False,
) -> list[Outcome]:
    """Train a recipe with each seed on this rank's share of the partitioned graph at ``path``.

    Args:
        name: of the recipe.
        max_epochs: most epochs; None: the recipe's own.
        wire_dtype: how rows travel.
        is_mixed: whether the model runs under ``torch.autocast`` in bfloat16; its output is float32 in any case.
    """
    torch.set_num_threads(1)
    with closing(fg.init()) as world:
        data = fg.open(path, world, wire_dtype=wire_dtype)
        inputs = _inputs(RECIPES[name], data)
        return [_train(RECIPES[name], data, inputs, seed, max_epochs, world, is_mixed=is_mixed) for seed in seeds]


def train_plain(source: str, name: str, seeds: range, max_epochs: int | None = None) -> list[Outcome]:
    """The same in PyG alone, on the whole graph of a data set."""
    torch.set_num_threads(1)
    data = pyg_data(load(source))
    inputs = _inputs(RECIPES[name], data)
    return [_train(RECIPES[name], data, inputs, seed, max_epochs, None) for seed in seeds]


def _inputs(recipe: Recipe, data: Any) -> tuple[Any, ...]:
    for store in data.node_stores:
        if "x" in store:
            store.x = store.x.to(recipe.dtype)
    return recipe.inputs(data)


def _train(
    recipe: Recipe,
    data: Any,
    inputs: tuple[Any, ...],
    seed: int,
    max_epochs: int | None,
    world: fg.World | None,
    *,
    is_mixed: bool = False,
) -> Outcome:
    rows = data if recipe.target is None else data[recipe.target]
    train, val = _masks(rows, recipe.held_out)
    torch.manual_seed(seed)
    model = recipe.model(data).to(recipe.dtype)
    optimizer = recipe.optimizer(model)
    if world is not None:
        fg.prepare(model, data)
    if is_mixed:
        mixed = torch.autocast(inputs[0].device.type, torch.bfloat16)(model.forward)
        model.forward = lambda *given: mixed(*given).float()
    before = 0 if world is None else world.traffic.rows_bytes
    stopping, losses, is_over, max_epochs = recipe.stopping(), [], False, max_epochs or recipe.max_epochs
    while not is_over and len(losses) < max_epochs:
        model.train()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(*inputs)[train], rows.y[train])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if val is not None or len(losses) == max_epochs:  # without validation the last epoch counts
            is_over = stopping.is_over(_scores(model, inputs, rows, val, optimizer))
    assert stopping.chosen is not None
    sent = 0 if world is None else world.traffic.rows_bytes - before
    return Outcome(scores=stopping.chosen, losses=losses, rows_bytes=sent)


def _masks(rows: Any, held_out: float) -> tuple[Tensor, Tensor | None]:
    """Training and validation rows; None where the graph has none of the latter and none are held out."""
    if not held_out:
        return rows.train_mask, rows.val_mask if "val_mask" in rows else None
    chosen = torch.rand(int(rows.num_nodes), generator=torch.Generator().manual_seed(0)) < held_out
    return rows.train_mask & ~chosen, rows.train_mask & chosen


@torch.no_grad()
def _scores(model: Module, inputs: tuple[Any, ...], rows: Any, val: Tensor | None, optimizer: Optimizer) -> Scores:
    model.eval()
    out, classes = model(*inputs), rows.num_classes
    is_right = out.argmax(1) == rows.y
    decays = ((group["weight_decay"] / 2, p) for group in optimizer.param_groups for p in group["params"])
    cells = (classes * rows.y + out.argmax(1))[rows.test_mask]
    table = torch.bincount(cells, minlength=classes**2).view(classes, classes).double()
    of_both = (table.sum(0) + table.sum(1)).clamp(min=1)
    return Scores(
        val_loss=0.0 if val is None else float(F.cross_entropy(out[val], rows.y[val])),
        penalty=sum(float(half * p.square().sum()) for half, p in decays),
        val_accuracy=0.0 if val is None else float(is_right[val].double().mean()),
        test_accuracy=float(table.diag().sum() / table.sum()),
        test_macro_f1=float((2 * table.diag() / of_both).mean()),
    )
