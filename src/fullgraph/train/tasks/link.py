"""Whether two nodes are linked: rows of nodes are learned so that a decoder tells edges from pairs without one.

Messages go over training edges alone, so that no edge to be predicted has a part in the rows that predict it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from fullgraph.errors import InputError
from fullgraph.graph import EDGE
from fullgraph.graph.manifest import NodeEntry
from fullgraph.pyg.data.graph import is_homogeneous
from fullgraph.rows import Rows
from fullgraph.train.config import TYPED_MODELS, TrainConfig
from fullgraph.train.inputs import Inputs
from fullgraph.train.metrics import Evaluation
from fullgraph.train.tasks import pairs as of_pairs
from fullgraph.train.tasks import scores
from fullgraph.train.tasks.pairs import NoLinks
from fullgraph.train.tasks.task import Metric, Task

HITS = (1, 3, 10, 20, 50, 100)
EVALUATED = ("val", "test")


class Linked(torch.nn.Module):
    """A model of nodes and a decoder of pairs.

    Args:
        encoder: gives a row per node, ``[num_nodes, width]``.
        decoder: ``dot``, the sum of the products of two rows, or ``mlp``, two linear layers on the products.
        width: of a row.
    """

    def __init__(self, encoder: torch.nn.Module, decoder: str, width: int):
        super().__init__()
        self.encoder, self.layers = encoder, None
        if decoder == "mlp":
            self.layers = torch.nn.Sequential(torch.nn.Linear(width, width), torch.nn.ReLU(), torch.nn.Linear(width, 1))

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Rows of nodes."""
        return self.encoder(*args, **kwargs)

    def decode(self, one: Tensor, other: Tensor) -> Tensor:
        """The logit of each pair of rows, ``[…, width]`` twice to ``[…]``."""
        products = one * other
        return products.sum(-1) if self.layers is None else self.layers(products).squeeze(-1)


@dataclass(frozen=True, kw_only=True)
class Link(Task):
    """Edges against as many pairs without one; the loss is the binary cross entropy of either, the two means added."""

    OPTIONS = ("decoder", "val_edges", "test_edges")
    METRICS: ClassVar[Mapping[str, Metric]] = {
        "mrr": scores.mrr,
        **{f"hits@{k}": partial(scores.hits, k=k) for k in HITS},
        "roc_auc": scores.roc_auc,
        "average_precision": scores.average_precision,
    }

    @classmethod
    def of(cls, config: TrainConfig, entry: NodeEntry) -> Self:
        """As `Task.of`, which needs no labels."""
        if config.prune:
            raise InputError("prune is for tasks of nodes, but the task is link; leave it out: True")
        return cls(config=config, num_outputs=config.hidden)

    def bound(self, inputs: Inputs) -> Inputs:
        """With the decoder, a mask of edges for each of the five numbers that occur, and messages over training edges.

        Raises:
            InputError: the graph has several types, or an array ``edge_split`` with other numbers.
        """
        data, config = inputs.data, self.config
        if not is_homogeneous(data):
            raise InputError(
                "the task link is for graphs of one node type and relation; this one has relations: "
                f"{len(data.edge_types)}"
            )
        split = of_pairs.edge_split(data, config.seed, config.val_edges, config.test_edges)
        is_message = split == of_pairs.TRAIN
        message = data.edge_index[:, is_message]
        like = next(inputs.model.parameters())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            model = Linked(inputs.model, config.decoder, self.num_outputs)
        return replace(
            inputs,
            model=model.to(device=like.device, dtype=like.dtype),
            masks=_masks(split, data.edge_index),
            arguments=(inputs.arguments[0], {EDGE: message} if config.model in TYPED_MODELS else message),
            edge_arguments={name: values[is_message] for name, values in inputs.edge_arguments.items()},
        )

    def trainable(self, inputs: Inputs) -> Inputs:
        """With the pairs that are not linked: in training as far as training edges tell, in evaluation truly."""
        data, masks, seed = inputs.data, inputs.masks, self.config.seed
        num_edges = len(data.edge_index[0])
        for name in ("train", *(["val"] if self.config.patience else [])):
            if name not in masks:
                raise InputError(
                    f"the task link needs an edge for {name}, but there is none between two nodes; change the "
                    f"fractions or the seed of the split; edges of the graph: {num_edges}"
                )
        trained, truly = (
            NoLinks.of(data, each, seed) for each in (data.edge_index[:, masks["train"]], data.edge_index)
        )
        inputs = replace(inputs, of_task={"train": trained, **dict.fromkeys(EVALUATED, truly)})
        for name in ("train", *(name for name in EVALUATED if name in masks)):
            if f"{name}_negative" not in masks and not int(self._drawn(inputs, name, 1)[1].sum()):
                raise InputError(
                    f"the task link needs pairs without an edge for {name}, but {of_pairs.TRIES} draws for each found "
                    f"none; edges of the graph: {num_edges}"
                )
        return inputs

    def loss(self, inputs: Inputs, epoch: int) -> Tensor:
        """Of the training edges and of pairs drawn anew in every epoch."""
        return _loss(*self._logits(inputs, inputs.forward(), "train", epoch))

    def evaluate(self, inputs: Inputs) -> Evaluation:
        """On the edges of validation and of test, which are ranked among pairs that stay the same."""
        rows, found, val_loss = inputs.forward(), {}, None
        for name in EVALUATED:
            if name in inputs.masks:
                logits = self._logits(inputs, rows, name, 0)
                metrics = {**self.METRICS, "loss": lambda one, other: float(_loss(one, other))}
                found[f"{name}_scores"] = {metric: metrics[metric](*logits) for metric in self.metrics}
                val_loss = float(_loss(*logits)) if name == "val" else val_loss
        return Evaluation(**found, val_loss=val_loss)

    def predictions(self, inputs: Inputs, pairs: Tensor | None) -> dict[str, Any]:
        """The rows of all nodes, and the logits of the pairs that are asked for."""
        rows = inputs.forward()
        if pairs is None:
            return {"rows": rows}
        if pairs.dim() != 2 or pairs.shape[1] != 2 or pairs.dtype != torch.int64:
            raise InputError(f"pairs must be whole numbers [n, 2]: {pairs.dtype} {list(pairs.shape)}")
        for worst in (int(pairs.min()), int(pairs.max())) if len(pairs) else ():
            if not 0 <= worst < len(rows):
                raise InputError(f"pairs must have ids from 0 to {len(rows) - 1}: {worst}")
        return {"rows": rows, "pairs": pairs, "logits": self._decode(inputs, rows[pairs[:, 0]], rows[pairs[:, 1]])}

    def _decode(self, inputs: Inputs, one: Tensor, other: Tensor) -> Tensor:
        model = inputs.model
        assert isinstance(model, Linked)
        dtype = next(model.parameters()).dtype
        return inputs.in_precision(lambda: model.decode(one.to(dtype), other.to(dtype)))

    def _logits(self, inputs: Inputs, rows: Tensor, name: str, epoch: int) -> tuple[Tensor, Tensor]:
        """Of the pairs of ``name`` that are linked, and of those that are not."""
        linked = self._of_edges(inputs, rows, name)
        if f"{name}_negative" in inputs.masks:
            return linked, self._of_edges(inputs, rows, f"{name}_negative")
        sources, are_pairs = self._drawn(inputs, name, epoch)
        return linked, self._decode(inputs, rows.unsqueeze(1), rows[sources])[are_pairs]

    def _of_edges(self, inputs: Inputs, rows: Tensor, name: str) -> Tensor:
        src, dst = inputs.data.edge_index[:, inputs.masks[name]]
        return self._decode(inputs, rows[src], rows[dst])

    def _drawn(self, inputs: Inputs, name: str, epoch: int) -> tuple[Rows, Rows]:
        count = int(inputs.masks[name].sum())
        return inputs.of_task[name].drawn(count, epoch if name == "train" else -EVALUATED.index(name))


def _loss(linked: Tensor, not_linked: Tensor) -> Tensor:
    ones, zeros = torch.ones_like(linked), torch.zeros_like(not_linked)
    bce = F.binary_cross_entropy_with_logits
    return bce(linked, ones) + bce(not_linked, zeros)


def _masks(split: Tensor, edge_index: Tensor) -> dict[str, Tensor]:
    """Which edges are of each of the five kinds that occur, self-loops left out."""
    names = ("train", "val", "test", "val_negative", "test_negative")
    between_two = edge_index[0] != edge_index[1]
    masks = {name: (split == number) & between_two for number, name in enumerate(names)}
    return {name: mask for name, mask in masks.items() if bool(mask.any())}
