"""Tasks that predict something of each node: a loss and metrics over the rows that masks select."""

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from fullgraph.errors import InputError
from fullgraph.train.inputs import Inputs
from fullgraph.train.metrics import Evaluation
from fullgraph.train.tasks.task import Task


@dataclass(frozen=True, kw_only=True)
class NodeTask(Task):
    """Of nodes, from labels in the array y."""

    @abstractmethod
    def criterion(self, out: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
        """The mean loss of rows; ``weight`` is of classes."""

    @abstractmethod
    def check_labels(self, y: Tensor, mask: str) -> None:
        """Raise an InputError if labels of nodes that a mask selects are none that this task learns."""

    @abstractmethod
    def predicted(self, out: Tensor) -> dict[str, Tensor]:
        """What the model's output means, by name."""

    def class_weight(self, y: Tensor) -> Tensor | None:
        """What each class counts in the loss, from the training labels; None: all alike."""
        return None

    def trainable(self, inputs: Inputs) -> Inputs:
        """With the weights of classes."""
        for name, needed_for in (("train", "training"), ("val", "patience")):
            if name not in inputs.masks and (name == "train" or self.config.patience):
                raise InputError(
                    f"{needed_for} needs a {name}_mask that selects at least one node; "
                    f"masks of the graph that select any: {', '.join(inputs.masks) or 'none'}"
                )
        for name, mask in inputs.masks.items():
            y = inputs.labels[mask]
            self.check_labels(y, name)
            nothing = torch.zeros_like(y, dtype=torch.float32).reshape(len(y), -1)[:, :1]
            try:
                self._scores(nothing.expand(-1, self.num_outputs), y)
            except InputError as error:
                raise InputError(f"among the nodes of {name}_mask {error}") from error
        return replace(inputs, of_task=self.class_weight(inputs.labels[inputs.masks["train"]]))

    def loss(self, inputs: Inputs, epoch: int) -> Tensor:
        """Of the training rows."""
        mask = inputs.masks["train"]
        return self.criterion(inputs.forward()[mask], inputs.labels[mask], inputs.of_task)

    def evaluate(self, inputs: Inputs) -> Evaluation:
        """On each mask; the loss without weights of classes."""
        out, labels, val = inputs.forward(), inputs.labels, inputs.masks.get("val")
        scores = {f"{name}_scores": self._scores(out[mask], labels[mask]) for name, mask in inputs.masks.items()}
        return Evaluation(**scores, val_loss=None if val is None else float(self.criterion(out[val], labels[val])))

    def predictions(self, inputs: Inputs, pairs: Tensor | None) -> dict[str, Any]:
        """Of every node."""
        if pairs is not None:
            raise InputError(f"pairs are for the task link; leave --pairs out, the model's task is: {self.config.task}")
        return self.predicted(inputs.forward())

    def _scores(self, out: Tensor, y: Tensor) -> dict[str, float]:
        metrics = {**self.METRICS, "loss": lambda out, y: float(self.criterion(out, y))}
        return {name: metrics[name](out, y) for name in self.metrics}
