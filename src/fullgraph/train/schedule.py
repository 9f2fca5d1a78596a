"""Learning rate schedules by name; each is one of torch's own."""

from collections.abc import Callable

import torch
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LRScheduler, StepLR

from fullgraph.train.config import TrainConfig

SCHEDULES: dict[str, Callable[[torch.optim.Optimizer, TrainConfig], LRScheduler]] = {
    "constant": lambda optimizer, config: ConstantLR(optimizer, factor=1.0),
    "cosine": lambda optimizer, config: CosineAnnealingLR(optimizer, T_max=config.epochs),
    "step": lambda optimizer, config: StepLR(optimizer, step_size=config.step_epochs, gamma=config.step_factor),
}
