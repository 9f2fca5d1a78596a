"""Rows that are quickly computed again are not kept for backward: norm, activation and dropout between two layers.

Autograd keeps a tensor per operation: a batch norm its input, a ReLU its output, the next layer the output of dropout.
All of them follow from the first. While a model runs we note how such tensors were made, and let what later operations
saved of them be made again in backward: one tensor per layer stays instead of three. Dropout is keyed, so it needs no
mask; statistics of a norm are part of the note and are not formed again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any
from weakref import ref

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from fullgraph.engine.norm import Affine
from fullgraph.engine.streamed import StreamedRows


@dataclass(eq=False)
class _Given:
    """Rows that are kept: where a chain starts."""

    rows: Tensor
    version: int

    def value(self, recipes: "Recipes | None" = None) -> Tensor:
        """The rows, if they are still what they were."""
        if self.rows._version != self.version:
            raise RuntimeError(
                "rows that backward needs were changed in place after they went into a norm, an activation, dropout or "
                f"a layer; make a new tensor instead, shape: {list(self.rows.shape)}"
            )
        return self.rows


@dataclass(eq=False)
class _Made:
    """Rows that can be made again: ``function`` of its parent's."""

    parent: "_Given | _Made"
    function: Callable[[Tensor], Tensor]
    used_again: bool

    def value(self, recipes: "Recipes") -> Tensor:
        """The rows, made from those of the parent."""
        if recipes.latest is not None and recipes.latest[0] is self:
            return recipes.latest[1]
        rows = self.function(self.parent.value(recipes))
        if self.used_again:
            recipes.latest = (self, rows)
        return rows


class Recipes:
    """How the tensors of one forward pass were made.

    Attributes:
        latest: in backward, the rows made last; several operations need the same ones in a row.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[ref[Tensor], int, _Made]] = {}
        self.latest: tuple[_Made, Tensor] | None = None

    def note(
        self, out: Tensor, source: Tensor, function: Callable[[Tensor], Tensor], *, used_again: bool = False
    ) -> None:
        """``out`` is ``function(source)``, to the last bit, whenever it is computed.

        Args:
            used_again: whether the rows made in backward are held until ``out``'s own operation has used them.
        """
        if isinstance(out, StreamedRows) or out.numel() == 0:
            return  # nothing to spare, and tensors without memory all lie in the same place
        parent = self._made(source) or _Given(source.detach(), source._version)
        place = out.data_ptr()
        # The note goes with the tensor; another one may get its memory.
        gone = ref(out, lambda gone: self._known.pop(place, None) if self._is_of(place, gone) else None)
        self._known[place] = (gone, out._version, _Made(parent, function, used_again))

    def relu(self, rows: Tensor) -> Tensor | None:
        """``F.relu`` of a norm's output, whose backward needs what the norm's needs and nothing else; else None."""
        made = self._made(rows)
        if made is None or not isinstance(made.function, Affine) or not rows.requires_grad or _is_hooked():
            return None
        out: Tensor = _Relu.apply(rows, made.function)  # pyright: ignore[reportAssignmentType]
        self.note(out, rows, torch.relu_, used_again=True)  # what a norm makes again is nobody else's
        for saved, _ in _saved(out.grad_fn):
            saved.register_hooks(lambda _: None, _Again(self, made.parent, self._made(out), rows.shape))
        return out

    def release(self) -> None:
        """In backward, before much memory is needed: what was made last is made again if it is asked for again."""
        self.latest = None

    def knows(self, tensor: Any) -> bool:
        """Whether ``tensor`` was noted."""
        return isinstance(tensor, Tensor) and any(known[0]() is tensor for known in list(self._known.values()))

    def spare(self, out: Tensor) -> None:
        """Drop what the operation that made ``out`` saved of noted tensors; backward makes them again."""
        operation = out.grad_fn
        if operation is None or _is_hooked():
            return
        own = self._made(out)
        for saved, tensor in _saved(operation):
            made = self._made(tensor) if isinstance(tensor, Tensor) and tensor.layout == torch.strided else None
            if made is not None:
                saved.register_hooks(lambda _: None, _Again(self, made, own, tensor.shape))

    def forget(self) -> None:
        """The model has run; notes that backward needs are with the operations."""
        self._known.clear()

    def _is_of(self, place: int, tensor: "ref[Tensor]") -> bool:
        known = self._known.get(place)
        return known is not None and known[0] is tensor

    def _made(self, tensor: Tensor) -> _Made | None:
        if isinstance(tensor, StreamedRows):
            return None
        known = self._known.get(tensor.data_ptr())
        if known is None:
            return None
        noted = known[0]()
        if noted is None or not _same_rows(tensor, noted) or known[1] != noted._version:
            return None
        return known[2]


class _Again:
    """What autograd calls in place of reading a saved tensor."""

    def __init__(self, recipes: Recipes, made: _Made | _Given, own: _Made | None, shape: torch.Size):
        self._recipes, self._made, self._own, self._shape = recipes, made, own, shape

    def __call__(self, _: object) -> Tensor:
        with torch.no_grad():
            rows = self._made.value(self._recipes).view(self._shape)
        # Backward of an operation comes after that of all who used its output.
        latest = self._recipes.latest
        if latest is not None and latest[0] is self._own:
            self._recipes.latest = None
        return rows


class _Relu(torch.autograd.Function):
    """Its argument is saved in name only: it stands for the rows that it was made from."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, affine: Affine) -> Tensor:
        ctx.affine = affine
        ctx.save_for_backward(rows)
        return F.relu(rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        (source,) = ctx.saved_tensors
        return ctx.affine.relu_backward(grads[0], source), None


def unchanged(tensor: Tensor) -> Callable[[], Tensor]:
    """A parameter that rows are made again with, as long as it is what it was.

    Raises:
        RuntimeError: when it is asked for and has changed.
    """
    given = _Given(tensor.detach(), tensor._version)
    return given.value


def _is_hooked() -> bool:
    """Whether somebody else decides what is saved, such as torch.utils.checkpoint."""
    return torch._C._autograd._top_saved_tensors_default_hooks(False) is not None  # pyright: ignore[reportAttributeAccessIssue]


def _same_rows(a: Tensor, b: Tensor) -> bool:
    same_memory = a.data_ptr() == b.data_ptr() and a.dtype == b.dtype and a.numel() == b.numel()
    return same_memory and a.is_contiguous() and b.is_contiguous()


def _saved(operation: Any) -> list[tuple[Any, Any]]:
    """The saved tensors of an operation, each as autograd's own object and as the tensor it stands for."""
    found: list[tuple[Any, Any]] = []
    for raw_name, name in _saved_names(type(operation)):
        raw, tensor = getattr(operation, raw_name), getattr(operation, name)
        found += zip(raw, tensor, strict=True) if isinstance(raw, tuple | list) else [(raw, tensor)]
    return found


@cache
def _saved_names(operation: type) -> tuple[tuple[str, str], ...]:
    raw = [name for name in dir(operation) if name.startswith("_raw_saved_")]
    # A function written in Python has all of them under one name.
    return tuple((name, "saved_tensors" if name == "_raw_saved_tensors" else name[4:]) for name in raw)
