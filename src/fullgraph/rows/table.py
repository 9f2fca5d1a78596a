"""What functions of torch mean for `Rows`: closed by default, so that what nobody has thought of is refused by name.

A *local meaning* gets the function and its arguments with torch functions on subclasses off, so that it works on this
rank's rows; what every rank has and needs a gradient has been entered. A *composite* is written in the global view
itself, by us or by torch. All are registered by name, and a name means the same as a function of ``torch``, of
``torch.nn.functional`` and as a method, but for the losses, of which ``torch`` has others under the same names.
"""

from collections.abc import Callable, Iterator, Sequence
from operator import index
from types import FunctionType
from typing import Any, NoReturn

import torch
from torch import Tensor

from fullgraph.errors import UnsupportedOperation
from fullgraph.rows.adjoints import enter
from fullgraph.rows.tensor import MEANINGS, Rows, functions_off
from fullgraph.rows.view import View

Meaning = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]

_BY_NAME: dict[str, Meaning] = {}


def _register(names: str, known: Meaning) -> None:
    for name in names.split():
        assert name not in _BY_NAME, name
        _BY_NAME[name] = known


def meaning(names: str, *, enters: bool = True, out: bool = False) -> Callable[[Meaning], Meaning]:
    """Register a local meaning ``(func, args, kwargs)`` for functions and methods of these names.

    One that does not enter what every rank has may gather all rows, and must enter it where it meets own ones. But for
    ``out``, results of rows are not written into ``out=``.
    """

    def register(of: Meaning) -> Meaning:
        def on_local_rows(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            kwargs = kwargs if out else _without_out(func, kwargs)
            with functions_off():
                if enters:
                    args, kwargs = entered(args, kwargs)
                return of(func, args, kwargs)

        _register(names, on_local_rows)
        return of

    return register


def called(names: str, *, enters: bool = True, out: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a local meaning (`meaning`) with the parameters of torch's function after the function itself."""

    def register(of: Callable[..., Any]) -> Callable[..., Any]:
        meaning(names, enters=enters, out=out)(lambda func, args, kwargs: of(func, *args, **_renamed(kwargs)))
        return of

    return register


def composite(names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function of the same signature, written in the global view."""

    def register(of: Callable[..., Any]) -> Callable[..., Any]:
        _register(names, lambda func, args, kwargs: of(*args, **_without_out(func, kwargs)))
        return of

    return register


def body_of(func: Any, **others: Any) -> Callable[..., Any]:
    """A function that torch writes in Python, of its others, as it means itself in the global view.

    Such a function asks first whether a class of tensor does it instead, which leads here; this is the same code, which
    does not ask, and in which some names may mean others. It runs as a program's code does: sizes are the whole
    graph's, and what it calls has a meaning or is refused. To write the code anew would be to follow torch's checks
    and defaults from version to version.
    """
    asking = ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")
    names = {**func.__globals__, **dict.fromkeys(asking, lambda *given: False), **others}
    body = FunctionType(func.__code__, names, func.__name__, func.__defaults__, func.__closure__)
    body.__kwdefaults__ = func.__kwdefaults__
    return body


def means_its_body(func: Any, **others: Any) -> None:
    """Register a function of torch as what its own code says (`body_of`)."""
    body = body_of(func, **others)
    MEANINGS[func] = lambda func, args, kwargs: body(*args, **kwargs)


def _without_out(func: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    if "out" not in kwargs:
        return kwargs
    if kwargs["out"] is not None:
        refuse(func, "does not write results of rows into out=")
    return {name: value for name, value in kwargs.items() if name != "out"}


def refused(names: str, why: str) -> None:
    """Register functions of these names as refused, and why."""
    _register(names, _refusing(why))


def resolve(func: Any) -> Meaning:
    """The meaning of a function that a `Rows` is among the arguments of."""
    from fullgraph.rows.pointwise import meaning_if_pointwise  # which knows this module

    if not _is_torchs_own(func):
        return _refusing()  # a name means something of torch only
    name = name_of(func)
    known = _BY_NAME.get(name) or meaning_if_pointwise(name)
    if known is not None and writes(name):
        return _not_into_parts(known)
    return known or _refusing()


def _not_into_parts(known: Meaning) -> Meaning:
    """A meaning that writes into its first argument, but not into a part that is a copy."""
    from fullgraph.rows.copies import check_no_part  # which knows this module

    def checked(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        check_no_part(func, args[0] if args else None)
        return known(func, args, kwargs)

    return checked


def writes(name: str) -> bool:
    """Whether a function of this name changes its first argument."""
    if name.endswith("_"):
        return not name.endswith("__") or name == "__setitem__" or (name.startswith("__i") and name not in _NO_WRITES)
    return False


_NO_WRITES = frozenset(("__invert__", "__index__", "__int__", "__iter__", "__init__"))


def _is_torchs_own(func: Any) -> bool:
    """Whether a function is not one that somebody registered with torch or made overridable."""
    package, _, rest = (getattr(func, "__module__", None) or "torch").partition(".")
    return package == "torch" and (not rest.startswith("_ops.") or rest == "_ops.aten")


def _refusing(why: str = "") -> Meaning:
    def refused(func: Any, args: Any, kwargs: Any) -> NoReturn:
        refuse(func, why)

    return refused


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


def entered(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments with an alias for each that every rank has and that needs a gradient."""
    if not torch.is_grad_enabled():
        return args, kwargs
    view: View | None = None
    outside: dict[int, Tensor] = {}
    for x in tensors_in((args, kwargs)):
        if isinstance(x, Rows):
            view = view or x._space.view
        elif x.requires_grad:
            outside[id(x)] = x
    if not outside or view is None or view.is_alone or view.in_piece:
        return args, kwargs
    aliases = dict(zip(outside, entered_values(list(outside.values()), view), strict=True))
    return mapped((args, kwargs), lambda x: aliases.get(id(x), x))


def entered_values(values: list[Tensor], view: View) -> list[Tensor]:
    """Aliases of values that every rank has and that need gradients, for use beside rows.

    A parameter of a prepared model that is running has one already, and so has what met rows before: gradients of all
    uses are then summed over ranks at once.
    """
    if view.is_alone or view.in_piece or not torch.is_grad_enabled():
        return values  # a piece is given what has been entered already
    of_model = view.entered or {}
    found: list[Tensor | None] = [of_model.get(id(value), None) for value in values]
    for place, value in enumerate(values):
        if not value.requires_grad:
            found[place] = value
            continue
        known = value.__dict__.get("_entered")
        if found[place] is None and known is not None and known[0] is view and known[1] == value._version:
            found[place] = known[2]
    missing = [place for place, alias in enumerate(found) if alias is None]
    if missing:
        for place, alias in zip(missing, enter([values[p] for p in missing], view), strict=True):
            found[place] = alias
            if not values[place].is_leaf:  # a leaf would hold itself
                vars(values[place])["_entered"] = (view, values[place]._version, alias)
    return found  # pyright: ignore[reportReturnType]


# Arguments of torch's functions in one form: by name, and dimensions counted from 0.

_ALIASES = {"self": "input", "tensor": "input", "x": "input", "A": "input", "axis": "dim", "keepdims": "keepdim"}
_ALIASES |= {"element": "elements", "test_element": "test_elements"}  # of torch.isin, where they are numbers


def _renamed(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {_ALIASES.get(name, name): value for name, value in kwargs.items()}


def named(args: tuple[Any, ...], kwargs: dict[str, Any], signature: str) -> dict[str, Any]:
    """Arguments by the names of a signature, whichever of torch's names the caller used.

    More positional ones than names are arguments that nobody asks for.
    """
    return {**dict(zip(signature.split(), args, strict=False)), **_renamed(kwargs)}


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
