"""What a call of a function of torch says: its name, the tensors among its arguments, and how it is refused.

One function has several names for its arguments and counts dimensions from either end; here is one form of each.
"""

from collections.abc import Callable, Iterator, Sequence
from operator import index
from typing import Any, NoReturn

from torch import Tensor

from fullgraph.errors import UnsupportedOperation
from fullgraph.rows.tensor import Rows


def refuse(func: Any, why: str = "") -> NoReturn:
    """Refuse a function.

    Raises:
        UnsupportedOperation: with its name, ``why`` and what to write.
    """
    name = func if isinstance(func, str) else name_of(func)
    raise UnsupportedOperation(
        f"{name} {why or 'is not known to have a meaning for rows that lie on several ranks'}; "
        "fullgraph.gather(rows) gives all rows to every rank, where it can be applied: see docs/your-model.md"
    )


def name_of(func: Any) -> str:
    """The name that a function is registered under: of an attribute's getter the attribute's, of its setter with =."""
    name = getattr(func, "__name__", str(func))
    if name in ("__get__", "__set__", "__delete__"):
        suffix = {"__get__": "", "__set__": "=", "__delete__": "-del"}[name]
        return getattr(func.__self__, "__name__", name) + suffix
    return name


def tensors_in(value: Any) -> Iterator[Tensor]:
    """All tensors among arguments, nested ones too."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from tensors_in(entry)
    elif isinstance(value, dict):
        for entry in value.values():
            yield from tensors_in(entry)


def mapped(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """The same nesting with each tensor changed."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, list | tuple):
        entries = [mapped(entry, change) for entry in value]
        return type(value)(*entries) if hasattr(value, "_fields") else type(value)(entries)
    if isinstance(value, dict):
        return {key: mapped(entry, change) for key, entry in value.items()}
    return value


def writes(name: str) -> bool:
    """Whether a function of this name changes its first argument."""
    if name.endswith("_"):
        return not name.endswith("__") or name == "__setitem__" or (name.startswith("__i") and name not in _NO_WRITES)
    return False


_NO_WRITES = frozenset(("__invert__", "__index__", "__int__", "__iter__", "__init__"))


_ALIASES = {"self": "input", "tensor": "input", "x": "input", "A": "input", "axis": "dim", "keepdims": "keepdim"}
_ALIASES |= {"element": "elements", "test_element": "test_elements"}  # of torch.isin, where they are numbers


def renamed(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments by one of torch's names for each."""
    return {_ALIASES.get(name, name): value for name, value in kwargs.items()}


def named(args: tuple[Any, ...], kwargs: dict[str, Any], signature: str) -> dict[str, Any]:
    """Arguments by the names of a signature, whichever of torch's names the caller used.

    More positional ones than names are arguments that nobody asks for.
    """
    return {**dict(zip(signature.split(), args, strict=False)), **renamed(kwargs)}


def rows_only(func: Any, x: Any) -> Rows:
    """The first argument, which must be `Rows`.

    Raises:
        UnsupportedOperation: otherwise.
    """
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
