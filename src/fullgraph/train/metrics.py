"""What is known after each epoch, and who is told: the seam between the loop, which prints nothing, and its watchers.

A watcher is called on rank 0 only. Here are the two that write files; the command line adds a progress bar.
"""

import json
import warnings
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fullgraph.extras import extra
from fullgraph.graph.checksum import checksum_of_bytes
from fullgraph.replacing import replace_text
from fullgraph.train import files
from fullgraph.train.config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How good the model is, over all ranks, in evaluation mode; None where the graph has no such mask.

    Attributes:
        train_scores, val_scores, test_scores: each metric by name.
        val_loss: mean over what is validated on, without weights of classes.
    """

    train_scores: dict[str, float] | None = None
    val_scores: dict[str, float] | None = None
    test_scores: dict[str, float] | None = None
    val_loss: float | None = None

    @property
    def by_mask(self) -> dict[str, dict[str, float]]:
        """The metrics of each mask that has any."""
        found = {"train": self.train_scores, "val": self.val_scores, "test": self.test_scores}
        return {name: scores for name, scores in found.items() if scores is not None}


@dataclass(frozen=True, kw_only=True)
class EpochMetrics(Evaluation):
    """One line of ``metrics.jsonl``. The evaluation comes after the epoch's step; all None in epochs without one.

    Attributes:
        epoch: counted from 1.
        train_loss: of the whole graph, in training mode, before the epoch's step.
        lr: the learning rate of the epoch's step.
        seconds: forward, backward and step, the slowest rank.
        eval_seconds: the evaluation; 0 without one.
        bytes_sent: rows and their gradients that each rank sent in forward, backward and step, by rank.
        bytes_reduced: what each rank gave to sums over all ranks in the same time, by rank.
        eval_bytes_sent: rows that each rank sent in the evaluation, by rank.
    """

    epoch: int
    train_loss: float
    lr: float
    seconds: float
    eval_seconds: float
    bytes_sent: list[int]
    bytes_reduced: list[int]
    eval_bytes_sent: list[int]


class Watcher:
    """Told about a run as it goes, on rank 0."""

    def begin(self, config: TrainConfig, done: int) -> None:
        """Training starts; ``done`` epochs were trained before (0 unless resumed)."""

    def epoch(self, metrics: EpochMetrics) -> None:
        """An epoch is over."""

    def rewound(self, done: int) -> None:
        """Training goes back to where ``done`` epochs had been trained."""

    def note(self, text: str) -> None:
        """Something happened that does not end the run, and that a user should know."""

    def end(self) -> None:
        """Training is over, also after an error."""


class MetricsFile(Watcher):
    """Writes ``metrics.jsonl``: one JSON object per epoch, on disk as soon as the epoch is over."""

    def __init__(self, run: Path) -> None:
        self._path = run / files.METRICS

    def begin(self, config: TrainConfig, done: int) -> None:
        """Keep the lines of the epochs that the checkpoint holds; later ones will be trained again."""
        self.rewound(done)

    def rewound(self, done: int) -> None:
        kept = [line for line in read_metrics(self._path.parent) if line["epoch"] <= done] if done else []
        replace_text(self._path, "".join(with_checksum(line) + "\n" for line in kept))

    def epoch(self, metrics: EpochMetrics) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(with_checksum(asdict(metrics)) + "\n")


class TensorBoard(Watcher):
    """Writes TensorBoard events into the run folder."""

    def __init__(self, run: Path) -> None:
        self._folder = run / files.TENSORBOARD

    def begin(self, config: TrainConfig, done: int) -> None:
        with extra("cli", "a run's TensorBoard events"), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # from TensorBoard's own imports
            from torch.utils.tensorboard import SummaryWriter
        self._writer = SummaryWriter(str(self._folder), purge_step=done + 1 if done else None)

    def epoch(self, metrics: EpochMetrics) -> None:
        scalars = {
            "loss/train": metrics.train_loss,
            "loss/val": metrics.val_loss,
            **{f"{name}/{of}": value for of, scores in metrics.by_mask.items() for name, value in scores.items()},
            "lr": metrics.lr,
            "seconds/epoch": metrics.seconds,
            "bytes_sent/largest_rank": max(metrics.bytes_sent),
        }
        for name, value in scalars.items():
            if value is not None:
                self._writer.add_scalar(name, value, metrics.epoch)

    def end(self) -> None:
        self._writer.close()


def read_metrics(run: Path) -> list[dict]:
    """The lines of a run's ``metrics.jsonl``, without those that a killed process or a bad disk has damaged."""
    path, read = run / files.METRICS, []
    for line in path.read_bytes().split(b"\n")[:-1] if path.exists() else []:
        with suppress(ValueError, RecursionError, TypeError, KeyError):  # no object, or one without a checksum
            each = json.loads(line)
            del each["checksum"]
            if with_checksum(each).encode() == line:
                read.append(each)
    return read


def with_checksum(values: dict[str, Any], indent: int | None = None) -> str:
    """An object as JSON, with a checksum of its other entries as the last."""
    checksum = checksum_of_bytes(json.dumps(values).encode())[:8]
    return json.dumps({**values, "checksum": checksum}, indent=indent)
