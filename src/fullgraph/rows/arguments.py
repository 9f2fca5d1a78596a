"""Arguments of torch's functions in one form: by name, and dimensions counted from 0."""

from collections.abc import Sequence
from operator import index
from typing import Any

from torch import Tensor

from fullgraph.rows.table import refuse
from fullgraph.rows.tensor import Rows

_ALIASES = {"self": "input", "tensor": "input", "x": "input", "A": "input", "axis": "dim", "keepdims": "keepdim"}


def named(args: tuple[Any, ...], kwargs: dict[str, Any], signature: str) -> dict[str, Any]:
    """Arguments by the names of a signature, whichever of torch's names the caller used.

    More positional ones than names are arguments that nobody asks for.
    """
    given = dict(zip(signature.split(), args, strict=False))
    for name, value in kwargs.items():
        given[_ALIASES.get(name, name)] = value
    return given


def rows_among(func: Any, given: dict[str, Any], name: str = "input") -> Rows:
    """The argument of this name, which must be `Rows`.

    Raises:
        UnsupportedOperation: otherwise.
    """
    x = given.get(name)
    if not isinstance(x, Rows):
        refuse(func, "has a meaning only for rows as its first argument")
    return x


def dimension(dim: int, num_dims: int) -> int:
    """A dimension counted from 0.

    Raises:
        IndexError: as torch's, if there is none.
    """
    if not -num_dims <= dim < num_dims:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-num_dims}, {num_dims - 1}], but got {dim})"
        )
    return dim % num_dims


def dims_of(x: Tensor, dim: int | Sequence[int] | None) -> tuple[int, ...]:
    """Some dimensions of ``x``, counted from 0; None means all.

    Raises:
        IndexError: if one is out of range, as in torch.
        RuntimeError: if one is given twice, as in torch.
    """
    n = x.dim()
    if dim is None:
        return tuple(range(n))
    found: list[int] = []
    for each in map(index, dim if isinstance(dim, Sequence) else (dim,)):
        if dimension(each, n) in found:
            raise RuntimeError(f"dim {each % n} appears multiple times in the list of dims")
        found.append(each % n)
    return tuple(found)
