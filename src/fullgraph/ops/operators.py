"""Makes an op that adds into its arguments an operator of torch, `torch.ops.fullgraph.<name>_`, for compilers only.

Eager calls go to the op itself: the dispatcher would double what a small call costs. A compiler sees one operator whose
schema says which tensors change; a `Dropout`, which a schema cannot name, becomes its three fields.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec

import torch

from fullgraph.ops.keep import Dropout

P = ParamSpec("P")
_DISPATCH: dict[str, Callable[..., None]] = {}
DROPOUT_SCHEMA = "float p, int dropout_key, Tensor? edge_keys"


def operator(*changed: str) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Register the decorated op, whose arguments named in `changed` are added into.

    Its parameters are Tensors, Tensors or None (default None), floats without default, and a last one named dropout.
    """

    def register(op: Callable[P, None]) -> Callable[P, None]:
        signature = inspect.signature(op)
        names = list(signature.parameters)
        terms = [
            _term(parameter, changed) for parameter in signature.parameters.values() if parameter.name != "dropout"
        ]

        def call(*values: Any) -> None:
            *given, p, key, edge_keys = values
            dropout = None if edge_keys is None else Dropout(p=p, key=key, edge_keys=edge_keys)
            bound = dict(zip(names, [*given, dropout], strict=True))
            keywords = {name: bound.pop(name) for name in names if _is_keyword(signature.parameters[name])}
            op(*bound.values(), **keywords)  # pyright: ignore[reportCallIssue]

        name = f"fullgraph::{op.__name__}_"
        schema = f"({', '.join([*terms, DROPOUT_SCHEMA])}) -> ()"
        registered = torch.library.custom_op(name, call, mutates_args=changed, schema=schema)
        registered.register_fake(lambda *values: None)

        def dispatch(*args: Any, **kwargs: Any) -> None:
            given = dict(zip(names, args, strict=False)) | kwargs
            registered(*[given.get(name) for name in names[:-1]], *dropout_terms(given.get("dropout")))

        @functools.wraps(op)
        def seen(*args: P.args, **kwargs: P.kwargs) -> None:
            (dispatch if torch.compiler.is_compiling() else op)(*args, **kwargs)

        _DISPATCH[op.__name__] = dispatch
        return seen

    return register


def dispatched(op: Callable[..., None]) -> Callable[..., None]:
    """The op by way of torch's dispatcher, for a backward that a compiler may trace."""
    return _DISPATCH[op.__name__]


def dropout_terms(dropout: Any) -> tuple[Any, ...]:
    """What stands for a `Dropout` or None in a schema."""
    return (0.0, 0, None) if dropout is None else (dropout.p, dropout.key, dropout.edge_keys)


def _is_keyword(parameter: inspect.Parameter) -> bool:
    return parameter.kind is inspect.Parameter.KEYWORD_ONLY


def _term(parameter: inspect.Parameter, changed: tuple[str, ...]) -> str:
    if parameter.annotation is float:
        return f"float {parameter.name}"
    optional = "?" if parameter.default is None else ""
    alias = f"(a{changed.index(parameter.name)}!)" if parameter.name in changed else ""
    return f"Tensor{alias}{optional} {parameter.name}"
