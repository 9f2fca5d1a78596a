"""Parts of rows that torch would give as views: on several ranks they are copies, and must not be written into.

What is written into a view is written into the tensor that it is of. A slice of rows lies on some ranks only and is
chosen there, and one row is brought to every rank, so a write would be lost in silence; it is refused instead.
"""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from fullgraph.rows.table import name_of, refuse, writes
from fullgraph.rows.tensor import Rows, functions_off
from fullgraph.rows.view import View

_WHY = "would write into a part of rows, which is a copy on several ranks; write x[part] = …, or clone() the part first"


def copied_part(part: Rows) -> Rows:
    """Mark `Rows` that were chosen where torch has a view."""
    if not part._space.view.is_alone:
        part.__dict__["_is_part"] = True
    return part


def check_no_part(func: Any, x: Any) -> None:
    """Refuse to write into a marked part.

    Raises:
        UnsupportedOperation: naming the function.
    """
    if isinstance(x, Tensor) and x.__dict__.get("_is_part"):
        refuse(func, _WHY)


class RowCopy(Tensor):
    """One row, which every rank has: an ordinary tensor but for writes."""

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if writes(name_of(func)) and args and isinstance(args[0], RowCopy):
            refuse(func, _WHY)
        with functions_off():
            plain = [x.as_subclass(Tensor) if isinstance(x, RowCopy) else x for x in args]
        return func(*plain, **(kwargs or {}))


def copied_row(row: Tensor, view: View) -> Tensor:
    """One row of `Rows`, on every rank."""
    return row if view.is_alone else row.as_subclass(RowCopy)
