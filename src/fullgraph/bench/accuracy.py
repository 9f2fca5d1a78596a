"""Whether training on several ranks reaches the accuracy that papers publish, beside plain PyG on one process.

The papers' public split, hyperparameters and stopping rules; two ranks; the same loop runs both sides.
"""

import statistics
from functools import partial

from fullgraph.bench.case import Findings, case, partitioned
from fullgraph.bench.experiment import Outcome, train_plain, train_rank
from fullgraph.comm.launch import launch

PUBLISHED = {  # percent: Kipf & Welling 2017, table 2; Veličković et al. 2018, table 2
    ("cora", "GCN"): 81.5,
    ("citeseer", "GCN"): 70.3,
    ("cora", "GAT"): 83.0,
    ("citeseer", "GAT"): 72.5,
}
NUM_RANKS = 2
TOLERATED = 1.0
"""Points that a mean may lie from the published one."""


@case("Accuracy on the citation graphs beside the published one")
def run(found: Findings) -> None:
    """Test accuracy in percent on the public split of each graph, mean and standard deviation over {seeds} seeds
    (initial weights and dropout). Features are divided by their sum per node; nodes without edges or label stay in the
    graph.

    GCN (Kipf & Welling 2017): 2 layers, 16 hidden units, dropout 0.5 on input and hidden rows, Adam with learning rate
    0.01, weight decay 5e-4 on the first layer, at most 200 epochs, stopped by the paper's window of 10 epochs over the
    validation loss; the last epoch's model counts.

    GAT (Veličković et al. 2018): 8 heads of 8 units, ELU, one output head, dropout 0.6 on rows and attention weights,
    Adam with learning rate 0.005, weight decay 5e-4, stopped when neither validation loss nor accuracy reached its best
    for 100 epochs; the last epoch that reached both counts.

    Both sides run the same modules through the same loop, one thread per process. They draw different dropout masks:
    fullgraph's are keyed by the node, PyG's are numbers in order of use.
    """
    published = dict.fromkeys([("digits", "GCN"), ("digits", "GAT")]) if found.quick else PUBLISHED
    seeds, max_epochs = (range(2), 3) if found.quick else (range(10), None)
    table = found.table("Test accuracy, percent")
    found.facts["seeds"] = len(seeds)
    for (source, name), target in published.items():
        with partitioned(source, NUM_RANKS) as stored:
            ours = launch(train_rank, stored.path, name, seeds, max_epochs, num_ranks=NUM_RANKS)[0]
        theirs = launch(train_plain, source, name, seeds, max_epochs, num_ranks=1)[0]
        mean, difference = mean_std(percent(ours)), "–"
        if target is not None:
            off = statistics.fmean(percent(ours)) - target
            difference = f"{off:+.2f}"
            found.verdict(abs(off) <= TOLERATED, f"{name} on {source} within {TOLERATED} point of {target}: {mean}")
        row = {
            "data set": source,
            "model": name,
            "published": "–" if target is None else target,
            "fullgraph, 2 ranks: mean ± std": mean,
            "difference": difference,
            "PyG, 1 process: mean ± std": mean_std(percent(theirs)),
            "fullgraph epochs, median": f"{statistics.median(len(each.losses) for each in ours):.0f}",
        }
        table.add(row)


@case("Accuracy on the citation graphs in bfloat16 beside float32")
def run_bf16(found: Findings) -> None:
    """Test accuracy of GCN in percent, mean and standard deviation over {seeds} seeds, as in `accuracy.md`, with the
    same modules, rules and dropout masks: `32-true`, and `bf16-mixed`, which is `torch.autocast` around the model. One
    rank, one thread. GAT takes too long for a case of its own.
    """
    sources = ("digits",) if found.quick else ("cora", "citeseer")
    seeds, max_epochs = (range(2), 3) if found.quick else (range(10), None)
    table = found.table("Test accuracy, percent")
    found.facts["seeds"] = len(seeds)
    for source in sources:
        with partitioned(source, 1) as stored:
            train = partial(train_rank, stored.path, "GCN", seeds, max_epochs)
            whole, mixed = (percent(launch(partial(train, is_mixed=mixes), num_ranks=1)[0]) for mixes in (False, True))
        off, spread = statistics.fmean(mixed) - statistics.fmean(whole), statistics.stdev(whole)
        row = {"data set": source, "32-true: mean ± std": mean_std(whole)}
        table.add(row | {"bf16-mixed: mean ± std": mean_std(mixed), "difference": f"{off:+.2f}"})
        claim = f"{source} within a standard deviation of float32's, {spread:.2f}: {off:+.2f}"
        found.demand(abs(off) <= spread, claim)


def percent(outcomes: list[Outcome]) -> list[float]:
    """Test accuracy of each seed."""
    return [100 * each.scores.test_accuracy for each in outcomes]


def mean_std(values: list[float]) -> str:
    """Mean and standard deviation as a cell."""
    return f"{statistics.fmean(values):.2f} ± {statistics.stdev(values):.2f}"
