"""Whether graphs of many relations and node types reach the accuracy that papers publish, on 1, 2 and 4 ranks.

Nodes here have a learned row each where they have no features, so that what is trained is partitioned too.
"""

import statistics

import numpy as np

from fullgraph.bench.accuracy import mean_std
from fullgraph.bench.case import Findings, case, partitioned
from fullgraph.bench.experiment import Outcome, train_rank
from fullgraph.comm.launch import launch
from fullgraph.graph import Edges, Graph

RANKS = (1, 2, 4)
CURVE_TOLERANCE = 1e-6


TASKS: dict[tuple[str, str], tuple[dict[str, str], float]] = {
    ("hgb_acm", "R-GCN"): ({"macro F1": "91.55", "micro F1": "91.41"}, 1.0),
    ("hgb_dblp", "R-GCN"): ({"macro F1": "91.52 ± 0.50", "micro F1": "92.07 ± 0.50"}, 0.5),
    ("rdf_aifb", "R-GCN"): ({"accuracy": "95.83 ± 0.62"}, 2.0),
    ("rdf_mutag", "R-GCN"): ({"accuracy": "73.23 ± 0.48"}, 2.0),
}
"""By data set and model what is published, percent per figure and, where stated, its spread; and how many points a mean
may lie below that."""
QUICK_TASKS = {("quick", model): ({"macro F1": "–"}, 0.0) for model in ("R-GCN", "HGT")}
FIGURES = {"accuracy": "test_accuracy", "micro F1": "test_accuracy", "macro F1": "test_macro_f1"}
"""The same where every node has one class: accuracy and micro F1."""


@case("Accuracy on graphs of many relations and types beside the published one")
def run(found: Findings) -> None:
    """Test figures in percent, in float64: mean and standard deviation over {seeds} seeds (initial weights and dropout)
    on one rank, and the first seed's run on 1, 2 and 4 ranks, whose losses are compared epoch by epoch.

    AIFB and MUTAG as Schlichtkrull et al. 2018 use them: entities without features, inverse relations added, the
    paper's split of the labelled entities, two R-GCN layers of 16 hidden units, 50 epochs of Adam with learning rate
    0.01, the last epoch counts. As in the paper, AIFB has a full matrix per relation and no decay, MUTAG 30 bases and
    decay 5e-4 (here on all weights, as PyG's example of this experiment has it, in the paper on the first layer's).

    ACM as the Heterogeneous Graph Benchmark has it (Lv et al. 2021): its training, validation and test papers. Two
    layers of 64 hidden units, dropout 0.6, Adam with learning rate 0.001 and decoupled weight decay 0.01. The epoch
    with the lowest validation loss counts, and training ends when it is 30 epochs old. Terms, which have no features,
    have a learned row per node, held by the rank that has the node.

    DBLP is of the same benchmark, whose own R-GCN has a learned row for every node in place of features (`--feats-type
    3` there), no map of the own row, no dropout and no decay, and learning rate 0.01; so it is here. Chosen by the
    validation loss: 64 hidden units in place of 16, and to stop as on ACM in place of after 150 epochs. A fifth of the
    training authors, drawn from a seed, is held out for validation.

    Published: Schlichtkrull et al. 2018, table 2, with the paper's standard error; Lv et al. 2021, table 3.
    """
    seeds, max_epochs = (range(2), 3) if found.quick else (range(3), None)
    found.facts["seeds"] = len(seeds)
    table = found.table("Test figures, percent")
    for (source, model), (published, tolerated) in (QUICK_TASKS if found.quick else TASKS).items():
        by_ranks: dict[int, list[Outcome]] = {}
        for num_ranks in RANKS:
            with partitioned(quick_graph() if found.quick else source, num_ranks) as stored:
                arguments = (stored.path, f"{model} on {source}", seeds if num_ranks == 1 else seeds[:1], max_epochs)
                by_ranks[num_ranks] = launch(train_rank, *arguments, num_ranks=num_ranks)[0]
        pairs = [
            (ours.losses, theirs.losses)
            for outcomes in by_ranks.values()
            for ours, theirs in zip(outcomes, by_ranks[1], strict=False)
        ]
        found.same_losses(f"{model} on {source}: the same losses on {RANKS} ranks", pairs, CURVE_TOLERANCE)
        for figure, wanted in published.items():
            percent = {n: [100 * getattr(each.scores, FIGURES[figure]) for each in by_ranks[n]] for n in RANKS}
            spread = mean_std(percent[1])
            row = {
                "data set": source,
                "model": model,
                "figure": figure,
                "published": wanted,
                "1 rank, all seeds: mean ± std": spread,
                **{f"first seed, {n} rank{'s' * (n > 1)}": f"{percent[n][0]:.2f}" for n in RANKS},
            }
            table.add(row)
            if not found.quick:
                reached = statistics.fmean(percent[1]) >= float(wanted.split()[0]) - tolerated
                claim = f"{figure} of {model} on {source} at most {tolerated} below {wanted}: {spread}"
                found.verdict(reached, claim)


def quick_graph() -> Graph:
    """Papers with features, authors without, in two relations, from a seed."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 60)
    written = np.stack([rng.integers(0, 25, 150), rng.integers(0, 60, 150)])
    masks = {name: np.arange(60) % 3 == place for place, name in enumerate(("train_mask", "val_mask", "test_mask"))}
    x = (rng.normal(size=(60, 4)) + y[:, None]).astype(np.float32)
    return Graph(
        num_nodes={"paper": 60, "author": 25},
        node_arrays={"paper": {"x": x, "y": y, **masks}},
        edges={
            ("author", "writes", "paper"): Edges(src=written[0], dst=written[1]),
            ("paper", "of", "author"): Edges(src=written[1], dst=written[0]),
        },
    )
