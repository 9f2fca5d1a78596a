"""Rows that stay on disk and are read a few MiB at a time, for features that are larger than memory.

Input features are only ever read, and a model's first step makes them narrow: a linear layer, or a sum over neighbours
and then a linear layer. Both are linear, so the order is free, and we always project first: what is held is as wide as
the layer's output. Backward reads the rows again for the gradient of the matrix and keeps nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import Any, NoReturn

import torch
from torch import Tensor

from fullgraph import ops
from fullgraph.engine.backward.once import backward_once
from fullgraph.errors import UnsupportedOperation
from fullgraph.graph import StoredRows

CHUNK_BYTES = 1 << 24
"""Most bytes of rows in memory at a time, as they are stored."""

Step = Callable[[Tensor, slice | Tensor], Tensor]


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """Where rows come from, and what is done to each of them as it is read.

    Attributes:
        name: of the array, for messages.
        parts: the files, one part's rows after another's; each row is a vector of the same width.
        dtype: of the rows in memory.
        device: where they are used.
        steps: functions of some rows and their places, applied one after another.
        made_width: numbers of one row after the steps, if they change that.
    """

    name: str
    parts: tuple[StoredRows, ...]
    dtype: torch.dtype
    device: torch.device
    steps: tuple[Step, ...] = ()
    made_width: int | None = None

    @property
    def num_rows(self) -> int:
        """Rows of all parts."""
        return sum(part.num_rows for part in self.parts)

    @property
    def stored_width(self) -> int:
        """Numbers of one row on disk."""
        return prod(self.parts[0].shape[1:])

    @property
    def width(self) -> int:
        """Numbers of one row."""
        return self.stored_width if self.made_width is None else self.made_width

    def chunks(self) -> Iterator[tuple[slice, Tensor]]:
        """All rows in order, as their places and ``[n, width]``; a chunk is overwritten by the next."""
        capacity = max(1, CHUNK_BYTES // max(1, self.parts[0].row_bytes))
        buffer, first = _Buffer(self, min(capacity, max(part.num_rows for part in self.parts))), 0
        for part in self.parts:
            with part.opened() as file:
                for start in range(0, part.num_rows, capacity):
                    num_rows = min(capacity, part.num_rows - start)
                    places = slice(first + start, first + start + num_rows)
                    file.read(start, buffer.raw(0, num_rows))
                    yield places, self.stepped(buffer.rows(num_rows), places)
            first += part.num_rows

    def chosen(self, places: Tensor) -> Tensor:
        """These rows, ``[len(places), width]``; ``places`` int64 from 0 on."""
        buffer, first = _Buffer(self, len(places)), 0
        for part in self.parts:
            here = torch.nonzero((places >= first) & (places < first + part.num_rows)).squeeze(1).tolist()
            with part.opened() as file:
                for row in here:
                    file.read(int(places[row]) - first, buffer.raw(row, 1))
            first += part.num_rows
        return self.stepped(buffer.rows(len(places)), places)

    def stepped(self, rows: Tensor, places: slice | Tensor) -> Tensor:
        """What follows from some rows as they are stored."""
        for step in self.steps:
            rows = step(rows, places)
        return rows


class _Buffer:
    """Memory for some rows as they are stored and, where that differs, as they are used."""

    def __init__(self, source: Source, capacity: int):
        part = source.parts[0]
        stored = getattr(torch, part.dtype)
        self._bytes = torch.empty(capacity * part.row_bytes, dtype=torch.uint8)
        self._stored, self._row_bytes = self._bytes.view(stored).view(capacity, source.stored_width), part.row_bytes
        is_same = stored == source.dtype and source.device.type == "cpu"
        self._used = (
            self._stored
            if is_same
            else self._stored.new_empty(self._stored.shape, dtype=source.dtype, device=source.device)
        )

    def raw(self, first: int, num_rows: int) -> Any:
        """The bytes of some rows, as numpy's uint8."""
        return self._bytes.numpy()[first * self._row_bytes : (first + num_rows) * self._row_bytes]

    def rows(self, num_rows: int) -> Tensor:
        """The first rows."""
        used = self._used[:num_rows]
        return used if self._used is self._stored else used.copy_(self._stored[:num_rows])


class StreamedRows(Tensor):
    """A float tensor ``[n, width]`` without memory: a linear function of rows on disk, computed when it is projected.

    What it can do is in `engine.disk.meanings`; everything else is refused by name. It has no gradient.

    Attributes:
        source: the rows.
        function: linear, of the projected rows of ``source`` ``[num_rows, G]``, to those of this tensor ``[n, G]``.
    """

    source: Source
    function: Callable[[Tensor], Tensor] | None

    @staticmethod
    def of(
        source: Source, function: Callable[[Tensor], Tensor] | None = None, num_rows: int | None = None
    ) -> "StreamedRows":
        """The rows of ``source``, or ``num_rows`` rows made of them by ``function``."""
        shape = (source.num_rows if num_rows is None else num_rows, source.width)
        rows = torch.Tensor._make_wrapper_subclass(StreamedRows, shape, dtype=source.dtype, device=source.device)  # pyright: ignore[reportAttributeAccessIssue]
        rows.source, rows.function = source, function
        return rows

    def then(self, function: Callable[[Tensor], Tensor], num_rows: int) -> "StreamedRows":
        """``num_rows`` rows that are a linear function of these; it is given projected ones, ``[n, G]``."""
        before = self.function
        both = function if before is None else lambda rows: function(before(rows))
        return StreamedRows.of(self.source, both, num_rows)

    def step(self, step: Step) -> "StreamedRows":
        """The same rows with ``step(rows, places)`` done to some of them at a time.

        Raises:
            UnsupportedOperation: if they are sums already.
        """
        if self.function is not None:
            refuse(step, (self,))
        return StreamedRows.of(replace(self.source, steps=(*self.source.steps, step)))

    def projected(self, matrix: Tensor) -> Tensor:
        """``self @ matrix.t()``, ``[n, G]``, of the caller's own and differentiable with respect to ``matrix``.

        Computed in the matrix' dtype, which rows are cast to as they are read.
        """
        rows: Tensor = _Projection.apply(matrix, self.source)  # pyright: ignore[reportAssignmentType]
        return rows if self.function is None else self.function(rows)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        return meaning_of(func, args, kwargs or {})

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        refuse(func, args)


MEANINGS: dict[Any, Callable[..., Any]] = {}
"""What functions of torch mean for `StreamedRows`, given by `engine.disk.meanings`; they may answer NotImplemented."""


def meaning_of(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """As `answer_of`, or refused."""
    answer = answer_of(func, args, kwargs)
    return refuse(func, args) if answer is NotImplemented else answer


def answer_of(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The result of a function of torch that was given `StreamedRows`; NotImplemented where there is none."""
    with torch._C.DisableTorchFunctionSubclass():
        meaning = MEANINGS.get(func)
        return NotImplemented if meaning is None else meaning(*args, **kwargs)


def refuse(func: Any, args: Any) -> NoReturn:
    """Say that a function needs rows in memory."""
    name = next((each.source.name for each in args if isinstance(each, StreamedRows)), "x")
    raise UnsupportedOperation(
        f"this operation needs {name} in memory, but it was opened with stream=({name!r},) and stays on disk; its rows "
        "can go through functions of single rows, dropout among them, then sums over neighbours and a linear layer, in "
        "this order; start the model with these, "
        f"or open the graph without stream: {torch.overrides.resolve_name(func) or func}"
    )


class _Projection(torch.autograd.Function):
    """Chunk by chunk, forward and backward."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, source: Source) -> Tensor:
        ctx.source = source
        out = matrix.new_empty((source.num_rows, len(matrix)))
        for places, rows in source.chunks():
            out[places] = ops.product(rows.to(matrix.dtype), matrix)
        return out

    @staticmethod
    @backward_once
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        source: Source = ctx.source
        grad = grads[0]
        grad_matrix = grad.new_zeros((grad.shape[1], source.width), dtype=ops.accumulator(grad.dtype))
        for places, rows in source.chunks():
            grad_matrix += ops.outer_sum(grad[places], rows.to(grad.dtype))
        return grad_matrix, None
