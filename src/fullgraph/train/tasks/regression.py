"""A real number, or several, for each node."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import torch.nn.functional as F
from torch import Tensor

from fullgraph.errors import InputError
from fullgraph.graph.manifest import NodeEntry
from fullgraph.train.config import TrainConfig
from fullgraph.train.tasks import scores
from fullgraph.train.tasks.node_task import NodeTask
from fullgraph.train.tasks.task import Metric


def _by_columns(metric: Metric) -> Metric:
    return lambda out, y: metric(out, y.to(out.dtype).view(len(y), -1))


@dataclass(frozen=True, kw_only=True)
class Regression(NodeTask):
    """Labels are numbers ``[num_nodes]`` or ``[num_nodes, num_targets]``; the loss is the mean squared error."""

    METRICS: ClassVar[Mapping[str, Metric]] = {
        name: _by_columns(getattr(scores, name)) for name in ("mse", "mae", "r2")
    }

    @classmethod
    def of(cls, config: TrainConfig, entry: NodeEntry) -> Self:
        """As `Task.of`."""
        row_shape = entry.arrays["y"].row_shape
        return cls(config=config, num_outputs=row_shape[0] if row_shape else 1)

    def check_labels(self, y: Tensor, mask: str) -> None:
        """As `NodeTask.check_labels`."""
        if y.is_floating_point() and not bool(y.isfinite().all()):
            raise InputError(
                f"{mask}_mask selects a node whose label is not finite; leave such nodes out of the masks and "
                f"partition again; labels that are not finite: {int((~y.isfinite()).sum())}"
            )

    def criterion(self, out: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
        """The mean squared error of all entries."""
        return F.mse_loss(out, y.to(out.dtype).view(len(y), -1))

    def predicted(self, out: Tensor) -> dict[str, Tensor]:
        """The numbers, ``[num_nodes, num_targets]``."""
        return {"pred": out}
