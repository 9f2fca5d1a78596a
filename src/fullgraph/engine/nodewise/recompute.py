"""Rows that are quickly computed again are not kept for backward: norm, activation and dropout between two layers.

Autograd keeps a tensor per operation: a batch norm its input, a ReLU its output, the next layer the output of dropout.
All of them follow from the first. While a model runs we note how such tensors were made, and let what later operations
saved of them be made again in backward: one tensor per layer stays instead of three. Operations of the engine make them
again some rows at a time, others all at once. Dropout is keyed, so it needs no mask; statistics of a norm are part of
the note and are not formed again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import ref

import torch
import torch.nn.functional as F
from torch import Tensor

from fullgraph import ops
from fullgraph.engine.backward.once import backward_once
from fullgraph.engine.backward.ownership import is_sole
from fullgraph.engine.backward.torch_private import are_saved_tensors_hooked, saved_by
from fullgraph.engine.disk.rows import StreamedRows
from fullgraph.engine.nodewise.norm import Affine

Step = Callable[[Tensor, slice], Tensor]
"""Makes rows of others, given these and which of all rows they are."""

_ALL = slice(None)
functions_off = torch._C.DisableTorchFunctionSubclass


@dataclass(frozen=True, eq=False)
class Chain:
    """How rows follow from others, each from the one in its place.

    Attributes:
        source: what they are made from, without a gradient.
        steps: what was done to it, in order; none if these are the rows themselves.
    """

    source: Tensor
    steps: tuple[Step, ...]


def rows_at(source: Tensor, steps: tuple[Step, ...], places: slice) -> Tensor:
    """The rows at ``places`` of what `Chain` describes; of nothing but a source, a view."""
    rows = source[places]
    for step in steps:
        rows = step(rows, places)
    return rows


@dataclass(eq=False)
class _Given:
    """Rows that are kept: where a chain starts."""

    rows: Tensor
    version: int

    @property
    def is_unchanged(self) -> bool:
        """Whether they are still what they were."""
        return self.rows._version == self.version

    def value(self, recipes: "Recipes | None" = None) -> Tensor:
        """The rows, if they are still what they were."""
        if not self.is_unchanged:
            raise RuntimeError(
                "rows that backward needs were changed in place after they went into a norm, an activation, dropout or "
                f"a layer; make a new tensor instead, shape: {list(self.rows.shape)}"
            )
        return self.rows


@dataclass(eq=False)
class _Made:
    """Rows that can be made again: a step from its parent's."""

    parent: "_Given | _Made"
    step: Step
    used_again: bool
    in_place: bool

    def value(self, recipes: "Recipes") -> Tensor:
        """The rows, made from those of the parent."""
        if recipes.latest is not None and recipes.latest[0] is self:
            return recipes.latest[1]
        rows = self.step(self.parent.value(recipes), _ALL)
        if self.used_again:
            recipes.latest = (self, rows)
        return rows


Origin = _Given | _Made


class Recipes:
    """How the tensors of one forward pass were made.

    Attributes:
        latest: in backward, the rows made last; several operations need the same ones in a row.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[ref[Tensor], int, _Made]] = {}
        self.latest: tuple[_Made, Tensor] | None = None

    def origin(self, source: Tensor) -> Origin:
        """What is known of rows before they are changed in place, for `note`."""
        return self._made(source) or _Given(source.detach(), source._version)

    def note(
        self,
        out: Tensor,
        source: Tensor | Origin,
        step: Step,
        *,
        used_again: bool = False,
        in_place: bool = True,
    ) -> None:
        """``out`` is ``step(source, slice(None))``, to the last bit, whenever it is computed.

        Args:
            used_again: whether the rows made in backward are held until ``out``'s own operation has used them.
            in_place: whether each row of ``out`` follows from the row of ``source`` in its place.
        """
        parent = self.origin(source) if isinstance(source, Tensor) else source
        if isinstance(out, StreamedRows) or out.numel() == 0:
            return  # nothing to spare, and tensors without memory all lie in the same place
        if isinstance(parent, _Given) and not parent.is_unchanged:
            return  # `out` is where they were
        place = out.data_ptr()
        # The note goes with the tensor; another one may get its memory.
        gone = ref(out, lambda gone: self._known.pop(place, None) if self._is_of(place, gone) else None)
        self._known[place] = (gone, out._version, _Made(parent, step, used_again, in_place))

    def relu(self, rows: Tensor, *, overwrites: bool = False) -> Tensor | None:
        """``F.relu`` of a norm's output, whose backward needs what the norm's needs and nothing else; else None.

        Args:
            overwrites: whether the result goes where ``rows`` are.
        """
        norm, chain = self._made(rows), self.chain(rows)
        if norm is None or chain is None or not isinstance(norm.step, Affine) or not rows.requires_grad:
            return None
        out: Tensor = _Relu.apply(rows, chain.source, chain.steps[:-1], norm.step, overwrites)  # pyright: ignore[reportAssignmentType]
        self.note(out, norm, _relu, used_again=True)
        return out

    def is_kept_by_none(self, rows: Tensor) -> bool:
        """Whether ``rows`` are what `relu` made, so that they may be overwritten as long as nobody else uses them."""
        found = self._made(rows)
        return found is not None and found.step is _relu

    def chain(self, rows: Tensor) -> Chain | None:
        """How ``rows`` were made row by row from rows that are kept; None if it is not known, or was not so."""
        found, steps = self._made(rows), []
        if found is None or are_saved_tensors_hooked():
            return None
        with functions_off():
            noted = self._known[rows.data_ptr()][0]()
            if noted is None or noted.shape != rows.shape:
                return None
        while isinstance(found, _Made):
            if not found.in_place:
                return None
            steps.append(found.step)
            found = found.parent
        return Chain(found.rows, tuple(reversed(steps))) if found.is_unchanged else None

    def release(self) -> None:
        """In backward, before much memory is needed: what was made last is made again if it is asked for again."""
        self.latest = None

    def knows(self, tensor: Any) -> bool:
        """Whether ``tensor`` was noted."""
        with functions_off():
            known = self._known.get(tensor.data_ptr()) if isinstance(tensor, Tensor) and tensor.numel() else None
        return known is not None and known[0]() is tensor

    def spare(self, out: Tensor) -> None:
        """Drop what the operation that made ``out`` saved of noted tensors; backward makes them again."""
        operation = out.grad_fn if isinstance(out, Tensor) else None
        if operation is None or are_saved_tensors_hooked():
            return
        own = self._made(out)
        with functions_off():
            for saved, tensor in saved_by(operation):
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
        with functions_off():  # whatever they are elsewhere, here they are memory
            is_it = noted is not None and _same_rows(tensor, noted) and known[1] == noted._version
        return known[2] if is_it else None


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
    """Of a norm's output, given how its input is made and what it did; only what that is made of is kept."""

    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, source: Tensor, steps: tuple[Step, ...], affine: Affine, overwrites: bool
    ) -> Tensor:
        ctx.steps, ctx.affine = steps, affine
        ctx.save_for_backward(source)
        if not overwrites:
            return F.relu(rows)
        ctx.mark_dirty(rows)
        return rows.relu_()

    @staticmethod
    @backward_once
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        is_free = is_sole(grads)
        (source,), grad = ctx.saved_tensors, grads[0].contiguous()
        out = grad if is_free else torch.empty_like(grad)
        for places in ops.some_at_a_time(grad, grad.size(1)) if ctx.steps else [_ALL]:
            ctx.affine.relu_backward(grad[places], rows_at(source, ctx.steps, places), out=out[places])
        return out, None, None, None, None


def _relu(rows: Tensor, places: slice) -> Tensor:
    return rows.relu_()  # what a norm makes again is nobody else's


def unchanged(tensor: Tensor) -> Callable[[], Tensor]:
    """A parameter that rows are made again with, as long as it is what it was.

    Raises:
        RuntimeError: when it is asked for and has changed.
    """
    given = _Given(tensor.detach(), tensor._version)
    return given.value


def _same_rows(a: Tensor, b: Tensor) -> bool:
    same_memory = a.data_ptr() == b.data_ptr() and a.dtype == b.dtype and a.numel() == b.numel()
    return same_memory and a.is_contiguous() and b.is_contiguous()
