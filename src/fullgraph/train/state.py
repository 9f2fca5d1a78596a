"""What changes while a run trains, put into checkpoints and back, on any number of ranks."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from fullgraph.train.checkpoint import Checkpoint
from fullgraph.train.config import TrainConfig
from fullgraph.train.inputs import Inputs
from fullgraph.train.metrics import EpochMetrics
from fullgraph.train.states import own_model_state, own_optimizer_state, whole_state


@dataclass(kw_only=True)
class TrainingState:
    """A run between two epochs.

    Attributes:
        inputs: the graph and the model.
        optimizer, scheduler: as torch makes them.
        epoch: epochs done.
        best: the best epoch so far; None before the first evaluation.
        best_model: the model's ``state_dict`` after it, of this rank's rows.
        merit: of an epoch: the higher, the better.
    """

    inputs: Inputs
    optimizer: Optimizer
    scheduler: LRScheduler
    merit: Callable[[EpochMetrics], tuple[float, float]]
    epoch: int = 0
    best: EpochMetrics | None = None
    best_model: dict[str, Any] | None = None

    def consider(self, metrics: EpochMetrics) -> None:
        """Take the epoch if it is better than the best."""
        if self.best is None or self.merit(metrics) > self.merit(self.best):
            self.best = metrics
            self.best_model = {
                name: value.detach().to("cpu", copy=True) for name, value in self.inputs.model.state_dict().items()
            }

    def is_patience_over(self, patience: int) -> bool:
        """Whether the best epoch is ``patience`` epochs ago; with 0 never."""
        return bool(patience and self.best and self.epoch - self.best.epoch >= patience)

    def checkpoint(self, config: TrainConfig, graph_checksum: str, num_outputs: int, code: str) -> Checkpoint:
        """The whole state, with the rows of all ranks. Collective."""
        states = whole_state((self.inputs.model.state_dict(), self.optimizer.state_dict(), self.best_model))
        return Checkpoint(
            config=config,
            graph_checksum=graph_checksum,
            num_features=self.inputs.num_features,
            num_outputs=num_outputs,
            edge_dim=self.inputs.edge_dim,
            epoch=self.epoch,
            model=states[0],
            optimizer=states[1],
            scheduler=self.scheduler.state_dict(),
            randomness=torch.get_rng_state(),
            best=asdict(self.best) if self.best else None,
            best_model=states[2],
            code=code,
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go back to a checkpoint, of which this rank takes its rows.

        Raises:
            GraphMismatch: if it has rows of a graph with another number of nodes.
        """
        model, data = self.inputs.model, self.inputs.data
        model.load_state_dict(own_model_state(checkpoint.model, model, data))
        self.optimizer.load_state_dict(own_optimizer_state(checkpoint.optimizer, self.optimizer, data))
        self.scheduler.load_state_dict(checkpoint.scheduler)
        torch.set_rng_state(checkpoint.randomness)
        self.epoch = checkpoint.epoch
        self.best = EpochMetrics(**checkpoint.best) if checkpoint.best else None
        self.best_model = checkpoint.best_model and own_model_state(checkpoint.best_model, model, data)

    def slow_down(self, factor: float) -> None:
        """Multiply the learning rate of this and all later epochs."""
        for group in self.optimizer.param_groups:
            group["lr"] *= factor
            group["initial_lr"] *= factor
        self.scheduler.base_lrs = [rate * factor for rate in self.scheduler.base_lrs]
