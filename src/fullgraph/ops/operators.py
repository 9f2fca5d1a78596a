"""Makes an op out of what it asks of its arguments: a kernel or its naive twin runs, and compilers see one operator.

Eager calls go to the kernel itself: torch's dispatcher would double what a small call costs. A compiler sees
`torch.ops.fullgraph.<name>_`, whose schema says which tensors are added into; a `Dropout`, which a schema cannot name,
becomes its three fields.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec

import torch
from torch import Tensor

from fullgraph.ops import native
from fullgraph.ops.keep import Dropout, keep_scale, threshold

P = ParamSpec("P")
Checks = Callable[P, dict[str, Any] | None]
_DROPOUT_SCHEMA = "float p, int dropout_key, Tensor? edge_keys"


def operator(
    twin: Callable[..., None], *changed: str, runs: Callable[[Tensor], bool] = native.runs
) -> Callable[[Checks[P]], Callable[P, None]]:
    """Register the decorated op, which refuses what does not fit and may return arguments in place of those given.

    Its parameters are Tensors, Tensors or None, floats and bools, of which the kernel of its name takes the same in the
    same order, and perhaps a last one named dropout.

    Args:
        twin: the same in plain torch, under the same names.
        changed: names of the arguments that are added into.
        runs: whether the kernel takes rows like those of the third argument.
    """

    def register(op: Checks[P]) -> Callable[P, None]:
        parameters = inspect.signature(op).parameters
        kernel: Callable[..., None] = getattr(native.core, op.__name__)
        defaults = {name: parameter.default for name, parameter in parameters.items()}
        by_name = {name for name, each in parameters.items() if each.kind is inspect.Parameter.KEYWORD_ONLY}

        def call(*values: Any) -> None:
            if "dropout" in parameters:
                *given, p, key, edge_keys = values
                values = (*given, None if edge_keys is None else Dropout(p=p, key=key, edge_keys=edge_keys))
            bound = dict(zip(parameters, values, strict=True))
            keywords = {name: bound.pop(name) for name in by_name}
            made(*bound.values(), **keywords)  # pyright: ignore[reportCallIssue]

        schema = f"({', '.join(_term(parameter, changed) for parameter in parameters.values())}) -> ()"
        name = f"fullgraph::{op.__name__}_"
        registered = torch.library.custom_op(name, call, mutates_args=changed, schema=schema)
        registered.register_fake(lambda *values: None)

        @functools.wraps(op)
        def made(*args: P.args, **kwargs: P.kwargs) -> None:
            given = {**defaults, **dict(zip(parameters, args, strict=False)), **kwargs}
            if torch.compiler.is_compiling():
                registered(*[term for name in parameters for term in _operator_terms(name, given[name])])
                return
            given |= op(**given) or {}  # pyright: ignore[reportCallIssue]
            if runs(args[2]):  # pyright: ignore[reportArgumentType]
                kernel(*[term for name in parameters for term in _kernel_terms(name, given[name])], native.threads())
            else:
                twin(**given)

        return made

    return register


def _term(parameter: inspect.Parameter, changed: tuple[str, ...]) -> str:
    if parameter.name == "dropout":
        return _DROPOUT_SCHEMA
    if parameter.annotation in (float, bool):
        return f"{parameter.annotation.__name__} {parameter.name}"
    optional = "?" if parameter.default is None else ""
    alias = f"(a{changed.index(parameter.name)}!)" if parameter.name in changed else ""
    return f"Tensor{alias}{optional} {parameter.name}"


def _operator_terms(name: str, value: Any) -> tuple[Any, ...]:
    if name != "dropout":
        return (value,)
    return (0.0, 0, None) if value is None else (value.p, value.key, value.edge_keys)


def _kernel_terms(name: str, value: Any) -> tuple[Any, ...]:
    if name != "dropout":
        return (native.array(value) if isinstance(value, Tensor) else value,)
    if value is None:
        return (None, 0, 0, 1.0)
    return (native.array(value.edge_keys), value.key, threshold(value.p), keep_scale(value.p))
