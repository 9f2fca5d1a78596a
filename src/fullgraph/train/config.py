"""Everything that decides a training run, in one frozen value, so that a run can be repeated, resumed and compared.

The command line makes its options from these fields (``help`` in a field's metadata is the option's help), so there is
no second list to keep in step.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from typing import Any, Literal, get_origin

from fullgraph.config import EngineConfig, option
from fullgraph.errors import InputError
from fullgraph.pyg.prune import PRUNED_NORMS

TYPED_MODELS = ("rgcn", "hgt")
TASK_OPTIONS = ("class_weight", "decoder", "val_edges", "test_edges")
"""Fields that some tasks have no use for."""
CHOICES = {
    "task": ("auto", "multiclass", "multilabel", "regression", "link"),
    "class_weight": ("none", "balanced"),
    "decoder": ("dot", "mlp"),
    "model": ("gcn", "sage", "gin", "gat", *TYPED_MODELS),
    "activation": ("relu", "elu", "leaky_relu", "gelu", "tanh"),
    "norm": ("none", "batch"),
    "jump": ("none", "last", "cat", "max"),
    "schedule": ("constant", "cosine", "step"),
    "precision": ("32-true", "64-true", "bf16-mixed", "bf16-true"),
    "on_nonfinite": ("stop", "skip", "rewind"),
    "pruned_norm": PRUNED_NORMS,
}
LEAST = {
    **dict.fromkeys(("hidden", "num_layers", "heads", "epochs", "eval_every", "step_epochs", "keep_checkpoints"), 1),
    **dict.fromkeys(("split", "patience", "checkpoint_every", "agree_every", "seed", "weight_decay"), 0),
}
ONE_TYPE_ONLY = ("norm", "jump", "input_dropout", "stream", "prune")
"""Fields that the models of several node types have no use for."""
ENGINE = frozenset(each.name for each in fields(EngineConfig))
RESUME_MAY_CHANGE = frozenset({"epochs", "patience", "checkpoint_every", "stream", "prune", "backend", "device"})
RESUME_MAY_CHANGE |= {"keep_checkpoints", "agree_every", "on_nonfinite"} | (ENGINE - {"wire_dtype"})
"""Fields that a resumed run may give anew: none of them changes what one epoch computes."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig(EngineConfig):
    """One training run: the model, the optimization, and how the engine walks.

    ``hidden`` counts all heads of a GAT layer together, as PyG's own ``GAT`` does. ``dropout`` is also the dropout of
    GAT's attention weights, as in PyG. The texts ``none`` (norm, jump) and ``auto`` (backend) stand for "not
    given"; the device is what `fullgraph.init` takes.

    Raises:
        InputError: on a value outside its range, naming the field and the value.
    """

    model: str = option("gcn", "model: gcn, sage, gin or gat (PyG's own), or rgcn or hgt for several node types")
    target: str = option("auto", "node type to learn about, for rgcn and hgt; auto: the only one with labels")
    task: str = option("auto", "multiclass, multilabel, regression or link; auto: what the labels y are")
    metric: str = option("auto", "metrics of the task, separated by commas; the first says which epoch is the best")
    class_weight: str = option("none", "weights of classes in the loss: none or balanced (rare ones count more)")
    decoder: str = option("dot", "task link: dot (product of two nodes' rows) or mlp (two layers on the products)")
    val_edges: float = option(0.05, "task link: share of the edges to validate on, drawn from the seed")
    test_edges: float = option(0.1, "task link: share of the edges to test on, drawn from the seed")
    hidden: int = option(64, "width of the hidden layers, all heads together")
    num_layers: int = option(2, "number of message passing layers")
    heads: int = option(1, "attention heads of gat and hgt; must divide the hidden width")
    dropout: float = option(0.5, "dropout between layers and, for gat, on attention weights")
    input_dropout: float = option(0.0, "dropout on the input features")
    activation: str = option("relu", "activation: relu, elu, leaky_relu, gelu or tanh")
    norm: str = option("none", "norm between layers: none or batch (exact over all ranks)")
    jump: str = option("none", "jumping knowledge: none, last, cat or max")
    normalize_features: bool = option(False, "scale every node's features to the sum 1 first")
    split: int = option(0, "which split to use where a data set has several")
    epochs: int = option(100, "most epochs to train")
    lr: float = option(0.01, "learning rate of Adam")
    weight_decay: float = option(0.0, "weight decay of Adam (L2)")
    schedule: str = option("constant", "learning rate schedule: constant, cosine (to 0 at the last epoch) or step")
    step_epochs: int = option(50, "schedule step: epochs between two steps")
    step_factor: float = option(0.5, "schedule step: factor on the learning rate at each step")
    patience: int = option(0, "stop after this many epochs without a better validation metric (0: never)")
    eval_every: int = option(1, "evaluate every this many epochs (and after the last)")
    checkpoint_every: int = option(10, "write a checkpoint every this many epochs (0: only at the end)")
    keep_checkpoints: int = option(2, "checkpoints to keep, the newest; each has the best model as well")
    agree_every: int = option(10, "compare ranks' models every this many epochs, and at checkpoints (0: only there)")
    on_nonfinite: str = option(
        "stop", "a loss or gradient that is not finite: stop, skip the step, or rewind to a checkpoint and halve lr"
    )
    seed: int = option(0, "seed of the initial weights and of dropout")
    precision: str = option(
        "32-true", "number types, as Lightning names them: 32-true, 64-true, bf16-mixed (autocast) or bf16-true"
    )
    stream: bool = option(False, "leave the features on disk and read them a few MiB at a time")
    prune: bool = option(False, "train on the rows that the loss depends on alone; evaluation is on all")
    pruned_norm: str = option(
        "refuse", "norm batch with prune: refuse, or computed (statistics of the rows computed, so other losses)"
    )
    backend: str = option("auto", "torch.distributed backend: auto, gloo, nccl, …")
    device: str = option(
        "auto", "device: auto (a GPU if there is one), cpu, cuda (a GPU for each rank of a machine), …"
    )

    def __post_init__(self) -> None:
        for each in fields(self):
            _check_type(each.name, each.type, getattr(self, each.name))
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise InputError(f"{name} must be one of {', '.join(choices)}: {getattr(self, name)!r}")
        for name, least in LEAST.items():
            if not getattr(self, name) >= least:
                raise InputError(f"{name} must be at least {least}: {getattr(self, name)}")
        for name in ("dropout", "input_dropout", "val_edges", "test_edges"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 0 and below 1: {getattr(self, name)}")
        for name in ("lr", "step_factor"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name} must be above 0 and finite: {getattr(self, name)}")
        if self.val_edges + self.test_edges >= 1:
            together = self.val_edges + self.test_edges
            raise InputError(f"val_edges and test_edges must leave edges to train on; together they are: {together}")
        if not math.isfinite(self.weight_decay):
            raise InputError(f"weight_decay must be finite: {self.weight_decay}")
        if self.model in ("gat", "hgt") and self.hidden % self.heads:
            raise InputError(f"hidden must be a multiple of heads, which is {self.heads}: {self.hidden}")
        if self.model not in ("gat", "hgt") and self.heads != 1:
            raise InputError(
                f"heads is for the models gat and hgt, but the model is {self.model}; leave heads at 1: {self.heads}"
            )
        self._check_typed()
        self._check_pruned()
        if self.jump != "none" and self.num_layers < 2:
            raise InputError(f"jump needs at least 2 layers to choose from; num_layers is: {self.num_layers}")
        super().__post_init__()

    def _check_typed(self) -> None:
        if self.model not in TYPED_MODELS:
            if self.target != "auto":
                raise InputError(f"target is for the models {' and '.join(TYPED_MODELS)}; leave it out: {self.target}")
            return
        for name in ONE_TYPE_ONLY:
            if getattr(self, name) != self.__dataclass_fields__[name].default:
                raise InputError(
                    f"{name} is for graphs of one type, but the model is {self.model}; leave it out: "
                    f"{getattr(self, name)}"
                )

    def _check_pruned(self) -> None:
        has_pruned_norm = self.prune and self.norm == "batch"
        if has_pruned_norm and self.pruned_norm == "refuse":
            raise InputError(
                "with prune, the statistics of norm batch are those of the computed rows and not of all, so losses "
                "differ; choose: pruned_norm computed to have it so, norm none, or no prune; pruned_norm is: "
                f"{self.pruned_norm}"
            )
        if not has_pruned_norm and self.pruned_norm != "refuse":
            raise InputError(
                f"pruned_norm is for norm batch with prune, but norm is {self.norm} and prune is {self.prune}; leave "
                f"it out: {self.pruned_norm}"
            )

    @property
    def engine(self) -> EngineConfig:
        """How the engine walks."""
        return EngineConfig(**{name: getattr(self, name) for name in ENGINE})

    def to_json(self) -> str:
        """The config as an indented JSON object with one key per field."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrainConfig":
        """The config that has these fields; the others keep their defaults.

        Raises:
            InputError: on a name that is no field (a file of a newer version, or a typing mistake).
        """
        known = [each.name for each in fields(cls)]
        for name in values:
            if name not in known:
                nearest = get_close_matches(name, known, n=1, cutoff=0)
                raise InputError(f"a training config has no such field; the nearest is {nearest[0]}: {name}")
        return cls(**values)

    def refuse_resume_from(self, earlier: "TrainConfig") -> None:
        """Make sure that a run begun with ``earlier`` may go on with this config.

        Raises:
            InputError: naming the first field that would make the resumed run another run.
        """
        # a cosine ends at the last epoch, so its length changes every step
        may_change = RESUME_MAY_CHANGE - ({"epochs"} if self.schedule == "cosine" else set())
        for name, now in asdict(self).items():
            before = getattr(earlier, name)
            if name not in may_change and before != now:
                raise InputError(
                    f"the run was begun with {name} {before!r} and cannot be resumed with another; "
                    f"leave the option out, or start a new run with its own --run folder: {now!r}"
                )


def _check_type(name: str, expected: Any, value: Any) -> None:
    if get_origin(expected) is Literal:
        return  # whose values are checked
    accepted = (float, int) if expected is float else expected
    if not isinstance(value, accepted) or (isinstance(value, bool) and expected is not bool):
        raise InputError(f"{name} must be {'an' if expected is int else 'a'} {expected.__name__}: {value!r}")
