"""The few numbers a run is judged by, as ``summary.json``: what a table, a sweep or a test reads."""

import json
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path

from fullgraph.errors import InputError
from fullgraph.graph import PartitionedGraph
from fullgraph.replacing import replace_text
from fullgraph.train import files
from fullgraph.train.config import TrainConfig
from fullgraph.train.metrics import EpochMetrics, with_checksum

VERSION = 2
JUDGED = ("train_loss", "train_scores", "val_scores", "test_scores", "val_loss")


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The outcome of a run.

    The losses and the scores, each metric by name, are those of ``best_epoch``: the epoch whose validation score of the
    first metric is best (of equals, that of the lowest validation loss), or the last evaluated epoch where there is
    nothing to validate on. Medians and peaks are over the epochs that this process trained, which are not all where the
    run was resumed.

    Attributes:
        epochs: epochs trained in all.
        last_train_loss: of the last epoch.
        epoch_seconds_median: seconds of forward, backward and step.
        peak_memory_bytes_per_rank: growth over the resident memory just before the first epoch.
        bytes_sent_per_epoch_per_rank: rows and their gradients, without evaluation; the median epoch.
        bytes_sent_per_evaluation_per_rank: rows; the median evaluation; zeros without one.
        bytes_reduced_per_epoch_per_rank: gradients and statistics given to sums over all ranks; the median epoch.
    """

    version: int = VERSION
    model: str
    task: str
    mode: str
    num_ranks: int
    num_parts: int
    graph_checksum: str
    epochs: int
    best_epoch: int
    train_loss: float
    train_scores: dict[str, float] | None
    val_scores: dict[str, float] | None
    test_scores: dict[str, float] | None
    val_loss: float | None
    last_train_loss: float
    epoch_seconds_median: float
    peak_memory_bytes_per_rank: list[int]
    bytes_sent_per_epoch_per_rank: list[int]
    bytes_sent_per_evaluation_per_rank: list[int]
    bytes_reduced_per_epoch_per_rank: list[int]


def summarize(
    config: TrainConfig, stored: PartitionedGraph, trained: list[EpochMetrics], best: EpochMetrics, peaks: list[int]
) -> Summary:
    """Put a run's numbers together.

    Args:
        trained: the epochs that this process trained, at least one.
        best: the epoch that the final numbers come from.
        peaks: the growth of each rank's memory.
    """
    evaluations = [metrics.eval_bytes_sent for metrics in trained if metrics.eval_seconds > 0]
    return Summary(
        model=config.model,
        task=config.task,
        mode=config.mode,
        num_ranks=len(peaks),
        num_parts=stored.num_parts,
        graph_checksum=stored.checksum,
        epochs=trained[-1].epoch,
        best_epoch=best.epoch,
        **{name: getattr(best, name) for name in JUDGED},
        last_train_loss=trained[-1].train_loss,
        epoch_seconds_median=statistics.median(metrics.seconds for metrics in trained),
        peak_memory_bytes_per_rank=peaks,
        bytes_sent_per_epoch_per_rank=_median_per_rank([metrics.bytes_sent for metrics in trained]),
        bytes_sent_per_evaluation_per_rank=_median_per_rank(evaluations) or [0] * len(peaks),
        bytes_reduced_per_epoch_per_rank=_median_per_rank([metrics.bytes_reduced for metrics in trained]),
    )


def write_summary(summary: Summary, run: Path) -> None:
    """Write ``summary.json`` into the run folder."""
    replace_text(run / files.SUMMARY, with_checksum(asdict(summary), indent=2) + "\n")


def read_summary(run: Path) -> Summary:
    """The summary of a finished run.

    Raises:
        InputError: the file is missing or damaged.
    """
    path = run / files.SUMMARY
    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text)
        del values["checksum"]
        if with_checksum(values, indent=2) + "\n" == text:
            return Summary(**values)
    except (OSError, ValueError, RecursionError, TypeError, KeyError):
        pass
    raise InputError(f"the summary is missing or damaged; resume the run with more epochs, or run it again: {path}")


def _median_per_rank(epochs: list[list[int]]) -> list[int]:
    return [statistics.median_low(rank) for rank in zip(*epochs, strict=True)]
