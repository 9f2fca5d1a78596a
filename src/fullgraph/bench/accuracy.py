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

    *bf16-mixed* is `torch.autocast` in bfloat16 around the model, with all else as before.

    Both sides run the same modules through the same loop, one thread per process. They draw different dropout masks:
    fullgraph's are keyed by the node, PyG's are numbers in order of use.
    """
    published = dict.fromkeys([("digits", "GCN"), ("digits", "GAT")]) if found.quick else PUBLISHED
    seeds, max_epochs = (range(2), 3) if found.quick else (range(10), None)
    table = found.table("Test accuracy, percent")
    found.facts["seeds"] = len(seeds)
    for (source, name), target in published.items():
        with partitioned(source, NUM_RANKS) as stored:
            train = partial(train_rank, stored.path, name, seeds, max_epochs)
            ours, mixed = (launch(partial(train, is_mixed=mixes), num_ranks=NUM_RANKS)[0] for mixes in (False, True))
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
            "the same in bf16-mixed": mean_std(percent(mixed)),
            "PyG, 1 process: mean ± std": mean_std(percent(theirs)),
            "fullgraph epochs, median": f"{statistics.median(len(each.losses) for each in ours):.0f}",
        }
        table.add(row)
        apart = abs(statistics.fmean(percent(mixed)) - statistics.fmean(percent(ours)))
        spread = statistics.stdev(percent(ours))
        found.demand(
            apart <= spread,
            f"{name} on {source} in bf16-mixed within a standard deviation, {spread:.2f}, of float32: {apart:.2f}",
        )


def percent(outcomes: list[Outcome]) -> list[float]:
    """Test accuracy of each seed."""
    return [100 * each.scores.test_accuracy for each in outcomes]


def mean_std(values: list[float]) -> str:
    """Mean and standard deviation as a cell."""
    return f"{statistics.fmean(values):.2f} ± {statistics.stdev(values):.2f}"
