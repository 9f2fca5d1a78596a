"""Features on disk as `Rows`: the whole graph's shape, and this rank's rows, which are read a few MiB at a time.

A layer's border hands the engine what it holds, `engine.StreamedRows`; what a program does to it before that is
recorded and done to some rows at a time, or it is refused by name.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from fullgraph.engine import StreamedRows, draw_key, keyed_dropout
from fullgraph.engine.disk.meanings import recorded
from fullgraph.engine.disk.rows import answer_of, meaning_of, refuse
from fullgraph.rows import Rows, Space, rows
from fullgraph.rows.alignment import at_rows
from fullgraph.rows.calls import dims_of, mapped, name_of, named, tensors_in
from fullgraph.rows.metadata import ABOUT
from fullgraph.rows.pointwise import meaning_if_pointwise
from fullgraph.rows.table import entered
from fullgraph.rows.tensor import functions_off, global_shape


class RowsOnDisk(Rows):
    """`Rows` without memory: whatever would read it as if it had some is refused.

    Attributes:
        streamed: this rank's rows.
    """

    streamed: StreamedRows

    @staticmethod
    def of(streamed: StreamedRows, space: Space) -> "RowsOnDisk":
        """``streamed``, which are this rank's rows of ``space``."""
        with functions_off():
            x: Any = torch.Tensor._make_wrapper_subclass(  # pyright: ignore[reportAttributeAccessIssue]
                RowsOnDisk, streamed.shape, dtype=streamed.dtype, device=streamed.device
            )
        x._space, x._dim, x.streamed = space, 0, streamed
        return x

    def at(self, space: Space) -> Tensor:
        """This rank's rows of ``space``: those on disk if it has all of them, else read, as a plain tensor."""
        if space == self._space:
            return self.streamed
        chosen = space.rows_of(self._space)
        if chosen is None:
            refuse("a layer between other rows", (self.streamed,))
        return self._read(chosen)

    def _read(self, chosen: Tensor | slice) -> Tensor:
        return meaning_of(Tensor.__getitem__, (self.streamed, chosen), {})

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = name_of(func)
        if name in ABOUT:
            return Rows.__torch_function__(func, types, args, kwargs)
        with functions_off():
            return _meaning(func, name, *entered(args, kwargs))

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        refuse(func, [x.streamed for x in args if isinstance(x, RowsOnDisk)])


def with_space(x: Tensor, space: Space) -> Rows:
    """What the engine gave for rows of ``space``, in memory or not, as `Rows`."""
    return RowsOnDisk.of(x, space) if isinstance(x, StreamedRows) else rows(x, space)


def _meaning(func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    own = [x for x in tensors_in((args, kwargs)) if isinstance(x, RowsOnDisk)]
    space = own[0]._space
    meaning = _MEANINGS.get(name)
    if meaning is not None and isinstance(args[0], RowsOnDisk):
        return meaning(func, *args, **kwargs)
    streamed, more = mapped((args, kwargs), lambda x: x.streamed if isinstance(x, RowsOnDisk) else x)
    if any(isinstance(x, Rows) for x in tensors_in((streamed, more))) or any(x._space != space for x in own):
        refuse(func, [x.streamed for x in own])
    answer = answer_of(func, streamed, more)
    if answer is NotImplemented and _is_within_rows(name, args, kwargs):
        answer = recorded(func, streamed, more)
    if answer is NotImplemented:
        refuse(func, [x.streamed for x in own])
    return mapped(answer, lambda x: with_space(x, space))


# What reduces or normalises, and its parameters.
_ALONG_COLUMNS = {
    **dict.fromkeys(["sum", "mean", "amax", "amin"], "input dim keepdim"),
    "norm": "input p dim keepdim",
    "normalize": "input p dim",
}


def _is_within_rows(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether each row of the result follows from the same row alone, and from numbers that every rank has."""
    x = args[0] if args else None
    if name in _ALONG_COLUMNS and isinstance(x, RowsOnDisk):
        given = named(args, kwargs, _ALONG_COLUMNS[name])
        dim = given.get("dim", 1 if name == "normalize" else None)
        return dims_of(x, dim) == (1,) and (name == "normalize" or bool(given.get("keepdim")))
    writes = (name.endswith("_") and not name.endswith("__")) or (name.startswith("__i") and name != "__invert__")
    others = [x for x in tensors_in((args, kwargs)) if not isinstance(x, RowsOnDisk)]
    is_by_row = any(x.requires_grad or (x.dim() > 1 and x.shape[-2] != 1) for x in others)
    return not (writes or is_by_row or kwargs.get("out") is not None) and meaning_if_pointwise(name) is not None


def _dropout(func: Any, input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    if not training or p == 0:
        return input
    return with_space(keyed_dropout(input.streamed, p, draw_key(), input._space.keys), input._space)


def _getitem(func: Any, x: Any, key: Any) -> Any:
    """Some rows, in memory."""
    space: Space = x._space
    if isinstance(key, slice):
        start, stop, step = key.indices(space.num_rows)
        chosen = space.sliced(start, stop, step) if step > 0 else None
    elif isinstance(key, Tensor) and key.dim() == 1 and key.dtype == torch.bool:
        chosen = space.subset(key if isinstance(key, Rows) and key._space == space else at_rows(func, key, space))
    elif isinstance(key, Tensor) and key.dim() == 1 and not isinstance(key, Rows):
        chosen = space.at(key)
    else:
        chosen = None
    if chosen is None:
        refuse(func, (x.streamed,))
    return rows(x._read(slice(None) if chosen is space else chosen.chosen), chosen)  # pyright: ignore[reportAttributeAccessIssue]


def _index_select(func: Any, input: Any, dim: int, index: Tensor) -> Any:
    return _getitem(func, input, index) if dim in (0, -2) else refuse(func, (input.streamed,))


def _described(func: Any, x: Any, *args: Any, **kwargs: Any) -> str:
    shape = [int(n) for n in global_shape(x)]
    return f"RowsOnDisk({x.streamed.source.name}, shape={shape}, dtype={x.dtype})"


_MEANINGS: dict[str, Callable[..., Any]] = {
    "dropout": _dropout,
    "__getitem__": _getitem,
    "index_select": _index_select,
    **dict.fromkeys(["__repr__", "__str__", "__format__"], _described),
}
