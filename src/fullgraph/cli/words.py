"""The words for an epoch's scores, in a bar and in a line."""

from fullgraph.train import EpochMetrics


def scores(metrics: EpochMetrics) -> str:
    """The first metric of each mask but the training rows', each after a space; "" in epochs without an evaluation."""
    first = {of: next(iter(found.items())) for of, found in metrics.by_mask.items() if of != "train"}
    return "".join(f" {of} {name} {value:.4f}" for of, (name, value) in first.items())
