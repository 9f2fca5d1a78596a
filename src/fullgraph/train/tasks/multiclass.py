"""One class of several for each node."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from fullgraph.errors import InputError
from fullgraph.graph.manifest import NodeEntry
from fullgraph.train.config import TrainConfig
from fullgraph.train.tasks import scores
from fullgraph.train.tasks.node_task import NodeTask
from fullgraph.train.tasks.task import Metric


@dataclass(frozen=True, kw_only=True)
class Multiclass(NodeTask):
    """Labels are whole numbers ``[num_nodes]`` from 0; the loss is cross entropy."""

    OPTIONS = ("class_weight",)
    METRICS: ClassVar[Mapping[str, Metric]] = {
        "accuracy": scores.accuracy,
        "micro_f1": scores.accuracy,
        "macro_f1": scores.macro_f1,
        "roc_auc": scores.multiclass_roc_auc,
        "average_precision": scores.multiclass_average_precision,
    }

    @classmethod
    def of(cls, config: TrainConfig, entry: NodeEntry) -> Self:
        """As `Task.of`."""
        y = entry.arrays["y"]
        if y.row_shape or y.dtype.startswith("float") or entry.num_classes is None:
            raise InputError(
                "the task multiclass needs one integer class per node in the array y; "
                f"the graph's y is {y.dtype} of row shape: {list(y.row_shape)}"
            )
        return cls(config=config, num_outputs=entry.num_classes)

    def check_labels(self, y: Tensor, mask: str) -> None:
        """As `NodeTask.check_labels`."""
        for worst in (int(y.min()), int(y.max())):
            if not 0 <= worst < self.num_outputs:
                raise InputError(
                    f"{mask}_mask selects a node without a class from 0 to {self.num_outputs - 1}; leave such nodes "
                    f"out of the masks and partition again; one has: {worst}"
                )

    def class_weight(self, y: Tensor) -> Tensor | None:
        """Balanced: the rows of each class weigh as much as those of any other, 1 on average over rows."""
        if self.config.class_weight == "none":
            return None
        counts = torch.bincount(y.long(), minlength=self.num_outputs)
        return len(y) / (int((counts > 0).sum()) * counts.clamp(min=1).double())

    def criterion(self, out: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
        """Cross entropy, divided by the sum of the weights."""
        return F.cross_entropy(out, y.long(), weight=None if weight is None else weight.to(out.dtype))

    def predicted(self, out: Tensor) -> dict[str, Tensor]:
        """The class of the largest logit."""
        return {"logits": out, "pred": out.argmax(-1)}
