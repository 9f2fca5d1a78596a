"""What functions of torch mean for `Rows`: closed by default, so that what nobody has thought of is refused by name.

A *local meaning* gets the function and its arguments with torch functions on subclasses off, so that it works on this
rank's rows; what every rank has and needs a gradient has been entered. A *composite* is written in the global view
itself, by us or by torch. All are registered by name, and a name means the same as a function of ``torch``, of
``torch.nn.functional`` and as a method, but for the losses, of which ``torch`` has others under the same names.
"""

from collections.abc import Callable
from types import FunctionType
from typing import Any, NoReturn

import torch
from torch import Tensor

from fullgraph.rows.adjoints import enter
from fullgraph.rows.calls import mapped, name_of, refuse, renamed, tensors_in, writes
from fullgraph.rows.copies import check_no_part
from fullgraph.rows.tensor import MEANINGS, Meaning, Rows, functions_off
from fullgraph.rows.view import View

_BY_NAME: dict[str, Meaning] = {}
_RULES: list[Callable[[str], Meaning | None]] = []


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
        meaning(names, enters=enters, out=out)(lambda func, args, kwargs: of(func, *args, **renamed(kwargs)))
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


def rule(of: Callable[[str], Meaning | None]) -> Callable[[str], Meaning | None]:
    """Register what finds the meanings of many names, asked where a name has none of its own."""
    _RULES.append(of)
    return of


def _resolve(func: Any) -> Meaning:
    """The meaning of a function that a `Rows` is among the arguments of."""
    if not _is_torchs_own(func):
        return _refusing()  # a name means something of torch only
    name = name_of(func)
    known = _BY_NAME.get(name) or next(filter(None, (rule(name) for rule in _RULES)), None)
    if known is not None and writes(name):
        return _not_into_parts(known)
    return known or _refusing()


MEANINGS.resolve = _resolve


def _not_into_parts(known: Meaning) -> Meaning:
    """A meaning that writes into its first argument, but not into a part that is a copy."""

    def checked(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        check_no_part(func, args[0] if args else None)
        return known(func, args, kwargs)

    return checked


def _is_torchs_own(func: Any) -> bool:
    """Whether a function is not one that somebody registered with torch or made overridable."""
    package, _, rest = (getattr(func, "__module__", None) or "torch").partition(".")
    return package == "torch" and (not rest.startswith("_ops.") or rest == "_ops.aten")


def _refusing(why: str = "") -> Meaning:
    def refused(func: Any, args: Any, kwargs: Any) -> NoReturn:
        refuse(func, why)

    return refused


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
