"""Parts of rows that torch would give as views: on several ranks they are copies, and must not be written into.

What is written into a view is written into the tensor that it is of. A slice of rows lies on some ranks only and is
chosen there, and one row is brought to every rank, so a write would be lost in silence; it is refused instead.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from fullgraph.rows.calls import mapped, name_of, refuse, tensors_in, writes
from fullgraph.rows.tensor import Rows, functions_off
from fullgraph.rows.view import View

_WHY = "would write into a part of rows, which is a copy on several ranks; write x[part] = …, or clone() the part first"


def copied_part(part: Rows) -> Rows:
    """Mark `Rows` that were chosen where torch has a view."""
    if not part._space.view.is_alone:
        vars(part)["_is_part"] = True
    return part


def is_part(x: Tensor) -> bool:
    """Whether ``x`` is a marked part, or a view of one."""
    with functions_off():
        base = x._base if x._is_view() else None
        return isinstance(x, RowCopy) or "_is_part" in x.__dict__ or (base is not None and "_is_part" in base.__dict__)


def check_no_part(func: Any, x: Any) -> None:
    """Refuse to write into a marked part.

    Raises:
        UnsupportedOperation: naming the function.
    """
    if isinstance(x, Tensor) and is_part(x):
        refuse(func, _WHY)


class RowCopy(Tensor):
    """One row, which every rank has, or a view of it: an ordinary tensor but for writes."""

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if writes(name_of(func)) and args and isinstance(args[0], RowCopy):
            refuse(func, _WHY)
        with functions_off():
            memory = {x.untyped_storage()._cdata for x in tensors_in(args) if isinstance(x, RowCopy)}
            args, kwargs = mapped(
                (args, kwargs or {}), lambda x: x.as_subclass(Tensor) if isinstance(x, RowCopy) else x
            )
        out = func(*args, **kwargs)
        with functions_off():
            return mapped(out, lambda x: x.as_subclass(RowCopy) if _is_in(memory, x) else x)


def _is_in(memory: set[int], x: Tensor) -> bool:
    return type(x) is Tensor and x.layout == torch.strided and x.untyped_storage()._cdata in memory


def copied_row(row: Tensor, view: View) -> Tensor:
    """One row of `Rows`, on every rank."""
    return row if view.is_alone else row.as_subclass(RowCopy)
