"""What a run learns: one file per task, chosen by name; also what the labels of a graph say about it."""

from dataclasses import replace
from pathlib import Path

from fullgraph.errors import InputError
from fullgraph.graph import PartitionedGraph
from fullgraph.graph.manifest import ArrayEntry
from fullgraph.train.config import TASK_OPTIONS, TYPED_MODELS, TrainConfig
from fullgraph.train.tasks.link import Link
from fullgraph.train.tasks.multiclass import Multiclass
from fullgraph.train.tasks.multilabel import Multilabel
from fullgraph.train.tasks.regression import Regression
from fullgraph.train.tasks.task import Task

__all__ = ["TASKS", "Task", "chosen"]

TASKS: dict[str, type[Task]] = {
    "multiclass": Multiclass,
    "multilabel": Multilabel,
    "regression": Regression,
    "link": Link,
}


def chosen(config: TrainConfig, stored: PartitionedGraph, graph: Path) -> tuple[TrainConfig, Task]:
    """The config with the node type and the task in place of ``auto``, and that task on this graph.

    Raises:
        InputError: the graph has no such type or labels, several could be meant, or an option is for other tasks.
    """
    types = stored.manifest.node_types
    able = [kind for kind, entry in types.items() if config.task == "link" or "y" in entry.arrays]
    if config.target not in ("auto", *types):
        raise InputError(f"target must be a node type of the graph, {', '.join(types)}: {config.target!r}")
    if not able or config.target not in ("auto", *able):
        raise InputError(f"training needs a label per node, but the graph has no array y of that kind: {graph}")
    if config.model in TYPED_MODELS and config.target == "auto":
        if len(able) > 1:
            raise InputError(f"several node types have labels, say which to learn with --target: {', '.join(able)}")
        config = replace(config, target=able[0])
    target = able[0] if config.target == "auto" else config.target
    if config.task == "auto":
        config = replace(config, task=_meant(types[target].arrays["y"]))
    task = TASKS[config.task]
    for name in TASK_OPTIONS:
        if name not in task.OPTIONS and getattr(config, name) != config.__dataclass_fields__[name].default:
            users = " and ".join(each for each, kind in TASKS.items() if name in kind.OPTIONS)
            raise InputError(
                f"{name} is for the tasks {users}, but the task is {config.task}; leave it out: {getattr(config, name)}"
            )
    return config, task.of(config, types[target])


def _meant(y: ArrayEntry) -> str:
    if not y.dtype.startswith("float"):
        return "multilabel" if y.row_shape and y.row_shape != (1,) else "multiclass"
    if y.row_shape in ((), (1,)):
        return "regression"
    raise InputError(
        "real numbers in several columns of y can be labels of 0, 1 and NaN, or targets; say which with --task "
        f"multilabel or --task regression; y is {y.dtype} of row shape: {list(y.row_shape)}"
    )
