"""``fullgraph.check``: a program's own step, run as one process would and on the ranks at hand, and compared.

What a user runs on a small graph before a long job on a large one.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import Module
from torch_geometric.data.data import BaseData

from fullgraph.errors import FullgraphError
from fullgraph.pyg.data.graph import rank_graph
from fullgraph.pyg.open import open_graph
from fullgraph.pyg.prepare import prepare
from fullgraph.pyg.rules import Converted, original_class
from fullgraph.rows import Rows, gather

Step = Callable[[Module, Any], Any]
FEW_EDGES = 64


@dataclass(frozen=True)
class Compared:
    """One tensor of a step.

    Attributes:
        name: of an output or of a parameter's gradient.
        run: on which run it was compared with that of one process.
        difference: the largest, relative to the largest number of the tensor or to 1; infinite for another shape.
        agrees: whether it is at most the tolerance of the tensor's dtype.
    """

    name: str
    run: str
    difference: float
    agrees: bool


@dataclass(frozen=True)
class Checked:
    """What `check` found; printed, it is a table.

    Attributes:
        compared: every tensor on every run.
        refused: the runs that were refused, with the refusal.
    """

    compared: tuple[Compared, ...]
    refused: tuple[tuple[str, str], ...]

    @property
    def agrees(self) -> bool:
        """Whether nothing was refused and everything agrees."""
        return not self.refused and all(each.agrees for each in self.compared)

    def __str__(self) -> str:
        lines = [
            f"{each.run}: {each.name}: {'agrees' if each.agrees else 'DIFFERS'} ({each.difference:.1e})"
            for each in self.compared
        ]
        return "\n".join([*lines, *(f"{run}: refused: {why}" for run, why in self.refused)])


def check(model: Module, data: BaseData, step: Step) -> Checked:
    """Run ``step(model, data)`` as plain PyG on the whole graph, and in this library; compare. Collective.

    Every rank gathers the whole graph, so the graph must be small. The model is copied, and stays as it is.

    Args:
        model: prepared or not.
        data: from ``fullgraph.open``.
        step: returns a loss, or several tensors as a list or a dictionary with the loss under ``"loss"`` or first. The
            loss is a scalar; its gradients by all parameters are compared too. Random draws differ from plain PyG's.

    Returns:
        What was compared with plain PyG on each run: ``ranks``, the data at hand; ``in pieces``, the same graph opened
        in memory, with few edges at a time.
    """
    graph, whole = rank_graph(data), gathered(data)
    config = graph.config
    wanted = dict(_left(_plain(model), whole, step))
    found: list[Compared] = []
    refused: list[tuple[str, str]] = []
    pieces = replace(config, chunk_edges=FEW_EDGES, round_rows=FEW_EDGES)
    for run, opened in (
        ("ranks", lambda: data),
        ("in pieces", lambda: open_graph(cast(Any, whole), graph.world, **vars(pieces))),
    ):
        try:
            given = opened()
            left = dict(_left(prepare(_plain(model), given), given, step))
        except FullgraphError as error:
            refused.append((run, str(error)))
            continue
        found += [_compared(name, run, left.get(name), wanted.get(name)) for name in {**wanted, **left}]
    return Checked(tuple(found), tuple(refused))


def gathered(data: BaseData) -> BaseData:
    """The whole graph as an ordinary PyG object, on every rank. Collective."""
    whole = copy.copy(data)
    whole.__dict__.pop("_rank_graph", None)
    for store in whole.stores:
        for name, value in list(store.items()):
            if isinstance(value, Rows):
                store[name] = gather(value)
            elif isinstance(value, int) and not isinstance(value, bool):
                store[name] = int(value)
    return whole


def _plain(model: Module) -> Module:
    """A copy that has not been prepared."""
    twin = copy.deepcopy(model)
    for module in twin.modules():
        if isinstance(module, Converted):
            module.__dict__.pop("rank_graph", None)
            module.__class__ = original_class(type(module))
    return twin


def _left(model: Module, data: Any, step: Step) -> Iterator[tuple[str, Tensor]]:
    """The outputs of a step and the gradients of its loss, by name, on every rank."""
    model.zero_grad(set_to_none=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        out = step(model, data)
    named: dict[Any, Any] = {"loss": out}
    if isinstance(out, dict | list | tuple):
        named = out if isinstance(out, dict) else dict(enumerate(out))
    loss = named.get("loss", next(iter(named.values())))
    if isinstance(loss, Tensor) and loss.requires_grad and all(p.grad is None for p in model.parameters()):
        loss.backward()
    for name, value in named.items():
        if isinstance(value, Tensor):
            yield str(name), gather(value.detach())
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            yield f"gradient of {name}", gather(parameter.grad)


def _compared(name: str, run: str, value: Tensor | None, wanted: Tensor | None) -> Compared:
    if value is None or wanted is None or value.shape != wanted.shape:
        return Compared(name, run, float("inf"), False)
    if not wanted.numel():
        return Compared(name, run, 0.0, True)
    tolerance = torch.finfo(wanted.dtype).eps ** 0.5 if wanted.is_floating_point() else 0.0
    scale = float(wanted.double().abs().max().clamp(min=1))
    difference = float((value.double() - wanted.double()).abs().max()) / scale
    return Compared(name, run, difference, difference <= tolerance)
