"""Whether training on several ranks reaches the accuracy that papers publish, beside plain PyG on one process.

The papers' public split, hyperparameters and stopping rules; two ranks; the same loop runs both sides.
"""

import statistics
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Module

import fullgraph as fg
from fullgraph.bench.case import Request, partitioned
from fullgraph.bench.citation_models import RECIPES, Recipe
from fullgraph.bench.graphs import edge_index_of
from fullgraph.bench.report import Report, verdict
from fullgraph.bench.stopping import Scores
from fullgraph.comm.launch import launch
from fullgraph.config import WireDtype
from fullgraph.datasets import load
from fullgraph.graph import NODE

PUBLISHED = {  # percent: Kipf & Welling 2017, table 2; Veličković et al. 2018, table 2
    ("cora", "GCN"): 81.5,
    ("citeseer", "GCN"): 70.3,
    ("cora", "GAT"): 83.0,
    ("citeseer", "GAT"): 72.5,
}
NUM_RANKS = 2
TOLERATED = 1.0
"""Points that a mean may lie from the published one."""

COLUMNS = (
    "data set",
    "model",
    "published",
    "fullgraph, 2 ranks: mean ± std",
    "difference",
    "PyG, 1 process: mean ± std",
    "fullgraph epochs, median",
)

_ABOUT = """\
Test accuracy in percent on the public split of each graph, mean and standard deviation over {seeds} seeds (initial
weights and dropout). Features are divided by their sum per node; nodes without edges or label stay in the graph.

GCN (Kipf & Welling 2017): 2 layers, 16 hidden units, dropout 0.5 on input and hidden rows, Adam with learning rate
0.01, weight decay 5e-4 on the first layer, at most 200 epochs, stopped by the paper's window of 10 epochs over the
validation loss; the last epoch's model counts.

GAT (Veličković et al. 2018): 8 heads of 8 units, ELU, one output head, dropout 0.6 on rows and attention weights, Adam
with learning rate 0.005, weight decay 5e-4, stopped when neither validation loss nor accuracy reached its best for 100
epochs; the last epoch that reached both counts.

Both sides run the same modules through the same loop, one thread per process. They draw different dropout masks:
fullgraph's are keyed by the node, PyG's are numbers in order of use.
"""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One run.

    Attributes:
        test_accuracy: 0 to 1, of the epoch that the recipe chose.
        num_epochs: how many epochs there were.
        rows_bytes: bytes of rows that this rank sent in all of them and their evaluations.
    """

    test_accuracy: float
    num_epochs: int
    rows_bytes: int


@dataclass(frozen=True, kw_only=True)
class _Side:
    """What the loop needs of either side."""

    world: fg.World
    x: Tensor
    edge_index: Tensor
    y: Tensor
    num_classes: int
    masks: dict[str, Tensor]
    prepare: Callable[[Module], Module]


def run(request: Request) -> Report:
    """The case ``accuracy``; quick: two seeds of a few epochs on the digits."""
    published = dict.fromkeys([("digits", model) for model in RECIPES]) if request.quick else PUBLISHED
    seeds = range(2) if request.quick else range(10)
    max_epochs = 3 if request.quick else None
    table, verdicts = request.table("Test accuracy, percent", COLUMNS), []
    for (source, name), target in published.items():
        ours, theirs = compare(source, name, seeds, max_epochs)
        mean, difference = mean_std(ours), "–"
        if target is not None:
            off = 100 * statistics.fmean(each.test_accuracy for each in ours) - target
            difference = f"{off:+.2f}"
            verdicts.append(
                verdict(abs(off) <= TOLERATED, f"{name} on {source} within {TOLERATED} point of {target}: {mean}")
            )
        epochs = f"{statistics.median(each.num_epochs for each in ours):.0f}"
        table.add(source, name, "–" if target is None else target, mean, difference, mean_std(theirs), epochs)
    return Report(
        title="Accuracy on the citation graphs beside the published one",
        about=_ABOUT.format(seeds=len(seeds)),
        verdicts=tuple(verdicts),
        tables=(table,),
    )


def compare(source: str, name: str, seeds: range, max_epochs: int | None) -> tuple[list[Outcome], list[Outcome]]:
    """Train a recipe on a data set: on fullgraph's ranks, and by plain PyG on one process.

    Args:
        source: anything that ``fullgraph.datasets.load`` takes, with masks.
        name: of the recipe.
        max_epochs: most epochs; None: the recipe's own.
    """
    with partitioned(source, NUM_RANKS) as stored:
        ours = launch(train_rank, stored.path, name, seeds, max_epochs, num_ranks=NUM_RANKS)[0]
    theirs = launch(_train_plain, source, name, seeds, max_epochs, num_ranks=1)[0]
    return ours, theirs


def train_rank(
    path: Path, name: str, seeds: range, max_epochs: int | None, wire_dtype: WireDtype = "float32"
) -> list[Outcome]:
    """Train a recipe with each seed on this rank's share of the partitioned graph at ``path``."""
    torch.set_num_threads(1)
    with closing(fg.init()) as world:
        data = fg.open(path, world, wire_dtype=wire_dtype)
        side = _Side(
            world=world,
            x=_row_normalised(data.x),
            edge_index=data.edge_index,
            y=data.y,
            num_classes=data.num_classes,
            masks={split: data[f"{split}_mask"] for split in ("train", "val", "test")},
            prepare=lambda model: fg.prepare(model, data),
        )
        return [_train(side, RECIPES[name], seed, max_epochs) for seed in seeds]


def _train_plain(source: str, name: str, seeds: range, max_epochs: int | None) -> list[Outcome]:
    torch.set_num_threads(1)
    graph = load(source)
    arrays = {key: torch.from_numpy(values) for key, values in graph.node_arrays[NODE].items()}
    y = arrays["y"]
    side = _Side(
        world=fg.World(),
        x=_row_normalised(arrays["x"]),
        edge_index=edge_index_of(graph),
        y=y,
        num_classes=int(y.max()) + 1,
        masks={split: arrays[f"{split}_mask"] for split in ("train", "val", "test")},
        prepare=lambda model: model,
    )
    return [_train(side, RECIPES[name], seed, max_epochs) for seed in seeds]


def _train(side: _Side, recipe: Recipe, seed: int, max_epochs: int | None) -> Outcome:
    torch.manual_seed(seed)
    model = recipe.model(side.x.shape[1], side.num_classes)
    optimizer = recipe.optimizer(model)
    side.prepare(model)
    stopping, num_epochs, is_over = recipe.stopping(), 0, False
    sent_before = side.world.traffic.rows_bytes
    while not is_over and num_epochs < (max_epochs or recipe.max_epochs):
        model.train()
        optimizer.zero_grad()
        loss = _loss(side, model(side.x, side.edge_index), "train")
        loss.backward()
        optimizer.step()
        num_epochs += 1
        is_over = stopping.is_over(_scores(side, model, optimizer))
    sent = side.world.traffic.rows_bytes - sent_before
    return Outcome(test_accuracy=stopping.test_accuracy, num_epochs=num_epochs, rows_bytes=sent)


@torch.no_grad()
def _scores(side: _Side, model: Module, optimizer: torch.optim.Optimizer) -> Scores:
    model.eval()
    out = model(side.x, side.edge_index)
    decays = ((group["weight_decay"] / 2, p) for group in optimizer.param_groups for p in group["params"])
    return Scores(
        val_loss=float(_loss(side, out, "val")),
        penalty=sum(float(half * p.square().sum()) for half, p in decays),
        val_accuracy=_accuracy(side, out, "val"),
        test_accuracy=_accuracy(side, out, "test"),
    )


def _loss(side: _Side, out: Tensor, split: str) -> Tensor:
    mask = side.masks[split]
    return F.cross_entropy(out[mask], side.y[mask])


def _accuracy(side: _Side, out: Tensor, split: str) -> float:
    mask = side.masks[split]
    return float((out[mask].argmax(1) == side.y[mask]).float().mean())


def _row_normalised(x: Tensor) -> Tensor:
    return x / x.sum(dim=1, keepdim=True).clamp(min=1)


def mean_std(outcomes: list[Outcome]) -> str:
    """Test accuracy in percent, mean and standard deviation over seeds."""
    percent = [100 * each.test_accuracy for each in outcomes]
    return f"{statistics.fmean(percent):.2f} ± {statistics.stdev(percent):.2f}"
