"""Libraries that take ranks for workers with data of their own, told that a program on ranks is one program.

torchmetrics adds up what all workers have counted, and every rank has counted everything. accelerate collects workers'
tensors, and makes a scheduler step once for each worker.
"""

import sys
from functools import cache
from typing import Any


def see_one_program() -> None:
    """Tell those that the program has imported. Again changes nothing."""
    metric, accelerate = (sys.modules.get(name) for name in ("torchmetrics.metric", "accelerate.state"))
    if metric is not None:
        _sync_nothing(metric)
    if accelerate is not None:
        _count_one_process(accelerate)


@cache
def _sync_nothing(metric: Any) -> None:
    metric.Metric.sync = lambda self, *args, **kwargs: None


@cache
def _count_one_process(state: Any) -> None:
    """Only the number: ``process_index`` stays the rank's, so that what the main process prints is printed once."""
    for name, value in (("num_processes", 1), ("distributed_type", state.DistributedType.NO)):
        always = property(lambda self, value=value: value, lambda self, _: None)
        setattr(state.PartialState, name, always)
        setattr(state.AcceleratorState, name, always)
