"""Whether ``fullgraph train`` reaches, task by task, what papers publish, with its own models and options."""

import statistics
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

import fullgraph as fg
from fullgraph.bench.accuracy import mean_std
from fullgraph.bench.case import Findings, case, partitioned
from fullgraph.bench.relational import quick_graph
from fullgraph.comm.launch import launch
from fullgraph.datasets import load
from fullgraph.graph import EDGE, NODE, Edges, Graph
from fullgraph.train import Summary, TrainConfig, train
from fullgraph.train.metrics import read_metrics

NUM_RANKS = 2
NUM_SEEDS = 2
CURVE_TOLERANCE = 1e-6


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What is trained.

    Attributes:
        graph: makes it.
        config: of all seeds; the metrics are those that are shown.
        published: percent by metric.
    """

    graph: Callable[[], Graph]
    config: TrainConfig
    published: dict[str, str]


def tolokers() -> Graph:
    """Edges in both directions, and the ten public splits as masks of ten columns."""
    graph = load("heterophilous_tolokers")
    arrays, once = graph.node_arrays[NODE], graph.edges[EDGE]
    masks = {f"{name}_mask": arrays[f"{name}_masks"] for name in ("train", "val", "test")}
    both = Edges(src=np.concatenate([once.src, once.dst]), dst=np.concatenate([once.dst, once.src]))
    return replace(graph, node_arrays={NODE: {"x": arrays["x"], "y": arrays["y"], **masks}}, edges={EDGE: both})


def by_relation(source: str) -> Graph:
    """Entities with a relation for each kind of edge, in place of an array ``edge_type``."""
    graph = load(source)
    edges = graph.edges[EDGE]
    kinds = edges.arrays["edge_type"]
    relations = {
        (NODE, str(kind), NODE): Edges(src=edges.src[kinds == kind], dst=edges.dst[kinds == kind])
        for kind in np.unique(kinds)
    }
    return replace(graph, edges=relations)


_GCN = TrainConfig(hidden=16, input_dropout=0.5, weight_decay=5e-4, normalize_features=True, epochs=200)
_GAE = TrainConfig(
    task="link", hidden=32, dropout=0.0, normalize_features=True, epochs=200, metric="roc_auc,average_precision"
)
_TOLOKERS = TrainConfig(
    model="sage",
    hidden=64,
    num_layers=3,
    norm="batch",
    jump="cat",
    dropout=0.2,
    epochs=100,
    eval_every=5,
    metric="roc_auc",
)
_RGCN = TrainConfig(model="rgcn", hidden=16, dropout=0.0, epochs=50)

EXPERIMENTS = {
    "cora": Experiment(graph=partial(load, "cora"), config=_GCN, published={"accuracy": "81.5"}),
    "cora, links": Experiment(
        graph=partial(load, "cora"), config=_GAE, published={"roc_auc": "91.0", "average_precision": "92.0"}
    ),
    "tolokers": Experiment(graph=tolokers, config=_TOLOKERS, published={"roc_auc": "82.43 ± 0.44"}),
    "rdf_aifb": Experiment(
        graph=partial(by_relation, "rdf_aifb"), config=_RGCN, published={"accuracy": "95.83 ± 0.62"}
    ),
}
QUICK = {
    "quick": Experiment(
        graph=quick_graph, config=TrainConfig(model="hgt", epochs=2, metric="macro_f1"), published={"macro_f1": "–"}
    ),
    "digits, links": Experiment(
        graph=partial(load, "digits"), config=replace(_GAE, epochs=2), published={"roc_auc": "–"}
    ),
}


@case("Figures of each task beside the published ones")
def run(found: Findings) -> None:
    """Test figures in percent of `fullgraph train`, in float64 on {ranks} ranks: mean and standard deviation over
    {seeds} seeds (of initial weights, dropout and, for links, the split). The epoch with the best validation score of
    the first metric counts. The first seed is trained on one rank too, and its losses are compared epoch by epoch.

    These are the models and options that the command line has, and not the papers' own programs: layers, stopping rules
    and tuning differ.

    - cora: GCN with the hyperparameters of Kipf & Welling 2017, table 2, for 200 epochs.
    - cora, links: the graph auto-encoder of Kipf & Welling 2016, table 1 (with features), with 5 % of the edges to
      validate and 10 % to test on; its second layer has 16 columns, this one 32, and pairs without an edge are drawn
      otherwise.
    - tolokers: GraphSAGE of three layers with batch norm and jumping knowledge, on the first of the ten public splits;
      published is the GraphSAGE of Platonov et al. 2023 (residual blocks, 512 columns, the mean over ten splits).
    - rdf_aifb: R-GCN with a relation for each predicate and direction, and a learned row for each entity; Schlichtkrull
      et al. 2018, table 2.
    """
    found.facts |= {"ranks": NUM_RANKS, "seeds": NUM_SEEDS}
    table = found.table("Test figures, percent")
    for name, experiment in (QUICK if found.quick else EXPERIMENTS).items():
        config = replace(experiment.config, dtype="float64")
        with partitioned(experiment.graph(), NUM_RANKS) as stored, tempfile.TemporaryDirectory() as folder:
            runs, losses = [], []
            for seed, num_ranks in [(0, 1), *((seed, NUM_RANKS) for seed in range(NUM_SEEDS))]:
                path = Path(folder) / f"{seed}-{num_ranks}"
                runs += launch(train_rank, stored.path, path, replace(config, seed=seed), num_ranks=num_ranks)[:1]
                losses.append([line["train_loss"] for line in read_metrics(path)])
        found.same_losses(
            f"{name}: the same losses on 1 and {NUM_RANKS} ranks", [(losses[0], losses[1])], CURVE_TOLERANCE
        )
        for metric, published in experiment.published.items():
            percent = [100 * (each.test_scores or {})[metric] for each in runs]
            best_epoch = statistics.median(each.best_epoch for each in runs[1:])
            row = {
                "data set": name,
                "task": runs[0].task,
                "model": config.model,
                "metric": metric,
                "published": published,
                f"{NUM_RANKS} ranks: mean ± std": mean_std(percent[1:]),
                "first seed, 1 rank": f"{percent[0]:.2f}",
                "best epoch, median": f"{best_epoch:.0f} of {config.epochs}",
            }
            table.add(row)


def train_rank(path: Path, folder: Path, config: TrainConfig) -> Summary:
    """One run, on this rank."""
    torch.set_num_threads(1)
    with closing(fg.init()) as world:
        return train(path, folder, config, world)
