"""What a run learns: the seam between the loop, which knows no task by name, and the losses and metrics of each."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from torch import Tensor

from fullgraph.errors import InputError
from fullgraph.graph.manifest import NodeEntry
from fullgraph.train.config import TrainConfig
from fullgraph.train.inputs import Inputs
from fullgraph.train.metrics import EpochMetrics, Evaluation

Metric = Callable[[Tensor, Tensor], float]
FALLING = ("loss", "mse", "mae")
"""Metrics of which less is better."""


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """One kind of prediction.

    Attributes:
        config: of the run.
        num_outputs: columns of the model's output.
    """

    OPTIONS: ClassVar[tuple[str, ...]] = ()
    """Fields of the config, of those that are for some tasks alone, that this one has a use for."""
    METRICS: ClassVar[Mapping[str, Metric]]
    """By name, of predicted rows and the truth, or of scores of pairs that are linked and that are not; the first is
    the default. ``loss`` is one too."""

    config: TrainConfig
    num_outputs: int

    def __post_init__(self) -> None:
        known = (*self.METRICS, "loss")
        for name in self.metrics:
            if name not in known:
                raise InputError(f"metric for the task {self.config.task} must be among {', '.join(known)}: {name!r}")

    @classmethod
    @abstractmethod
    def of(cls, config: TrainConfig, entry: NodeEntry) -> Self:
        """The task on nodes of a type that has this entry in the manifest.

        Raises:
            InputError: its labels are not what this task learns.
        """

    @property
    def metrics(self) -> list[str]:
        """What is measured; the first of these says which epoch is the best."""
        return [next(iter(self.METRICS))] if self.config.metric == "auto" else self.config.metric.split(",")

    def bound(self, inputs: Inputs) -> Inputs:
        """With what this task adds to the model and the graph, for training and prediction. Collective."""
        return inputs

    @abstractmethod
    def trainable(self, inputs: Inputs) -> Inputs:
        """With what the loss needs besides, if there is something to learn from and, with patience, to stop by.

        Collective.

        Raises:
            InputError: the same on every rank.
        """

    @abstractmethod
    def loss(self, inputs: Inputs, epoch: int) -> Tensor:
        """What the epoch's step makes less, over all ranks."""

    @abstractmethod
    def evaluate(self, inputs: Inputs) -> Evaluation:
        """The metrics, by one forward pass; the model is in evaluation mode."""

    @abstractmethod
    def predictions(self, inputs: Inputs, pairs: Tensor | None) -> dict[str, Any]:
        """What is predicted, by name: tensors, of which some are `Rows`.

        Args:
            pairs: int64 ``[n, 2]``, ids of nodes, the same on every rank; None if none are asked for.
        """

    def merit(self, metrics: EpochMetrics) -> tuple[float, float]:
        """More is better: the first metric on the validation rows, then a lower loss there."""
        if metrics.val_scores is None or metrics.val_loss is None:
            return float(metrics.epoch), 0.0  # nothing to judge by: the later, the better
        name = self.metrics[0]
        value = metrics.val_scores[name]
        return -value if name in FALLING else value, -metrics.val_loss
