"""Several labels for each node, each of which is there, is not, or is not known."""

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
class Multilabel(NodeTask):
    """Labels are 0, 1 or NaN ``[num_nodes, num_labels]``; the loss is binary cross entropy of all that are not NaN."""

    OPTIONS = ("class_weight",)
    METRICS: ClassVar[Mapping[str, Metric]] = {
        "micro_f1": scores.multilabel_micro_f1,
        "macro_f1": scores.multilabel_macro_f1,
        "roc_auc": scores.multilabel_roc_auc,
        "average_precision": scores.multilabel_average_precision,
    }

    @classmethod
    def of(cls, config: TrainConfig, entry: NodeEntry) -> Self:
        """As `Task.of`."""
        y = entry.arrays["y"]
        if len(y.row_shape) != 1:
            raise InputError(
                "the task multilabel needs an array y [num_nodes, num_labels] of 0, 1 and, where a label is missing, "
                f"NaN; the graph's y is of row shape: {list(y.row_shape)}"
            )
        return cls(config=config, num_outputs=y.row_shape[0])

    def check_labels(self, y: Tensor, mask: str) -> None:
        """As `NodeTask.check_labels`."""
        y = y.to(torch.float64)
        known = ~y.isnan()
        bad = known & (y != 0) & (y != 1)
        if int(bad.sum()):
            raise InputError(
                f"{mask}_mask selects a node with a label that is neither 0, 1 nor NaN (missing); mend y, or leave "
                f"such nodes out of the masks, and partition again; labels of that kind: {int(bad.sum())}"
            )
        if not int(known.sum()):
            raise InputError(f"{mask}_mask selects only nodes without labels; leave it out, or mend y: all are NaN")

    def class_weight(self, y: Tensor) -> Tensor | None:
        """Balanced: the ones of each label weigh as much as its zeros; 1 where there are only zeros or only ones."""
        if self.config.class_weight == "none":
            return None
        ones, zeros = (y == 1).sum(0), (y == 0).sum(0)
        return torch.where((ones > 0) & (zeros > 0), zeros / ones.clamp(min=1).double(), 1)

    def criterion(self, out: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
        """Binary cross entropy; ``weight`` is of the ones."""
        known = (~y.isnan()).to(out.dtype)
        truth = y.to(out.dtype).nan_to_num()
        ratio = None if weight is None else weight.to(out.dtype)
        return F.binary_cross_entropy_with_logits(out, truth, known, pos_weight=ratio, reduction="sum") / known.sum()

    def predicted(self, out: Tensor) -> dict[str, Tensor]:
        """The labels whose logit is above 0."""
        return {"logits": out, "pred": (out > 0).long()}
