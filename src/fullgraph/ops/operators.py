"""Makes an op of its naive twin: asks what it must of the arguments, then runs the kernel of its name, or the twin.

The twin, in plain torch, defines what the op computes; autograd can follow it, and it allocates tensors with a row per
edge, which is what the kernels exist to avoid. It is the op's ``__wrapped__``.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec

from torch import Tensor

from fullgraph.ops import gpu, native
from fullgraph.ops.keep import Dropout, keep_scale, threshold
from fullgraph.ops.plain import plain

P = ParamSpec("P")
Check = Callable[[dict[str, Any]], Tensor]


def operator(
    check: Check, *, changes: str = "", runs: Callable[[Tensor], bool] = native.runs
) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """An op over a block, decorating its twin; kernels take the same, in C++ in the same order.

    Args:
        check: is given all arguments by name, raises InputError on what does not fit, may put others in their place,
            and returns the one that decides who runs.
        changes: names of what it adds into and may be as narrow as the rows, separated by spaces.
        runs: whether the C++ kernel takes rows like these. It is given float32 copies of rows of 16 bits that it does
            not, which are of the size of the rows; the twin would make tensors of the size of the edges.
    """

    def register(twin: Callable[P, None]) -> Callable[P, None]:
        kernel: Callable[..., None] = getattr(native.core, twin.__name__)
        defaults = {name: parameter.default for name, parameter in inspect.signature(twin).parameters.items()}

        @plain
        @functools.wraps(twin)
        def op(*args: P.args, **kwargs: P.kwargs) -> None:
            given = {**defaults, **dict(zip(defaults, args, strict=False)), **kwargs}
            rows = check(given)
            if gpu.runs(rows):
                gpu.kernel(twin.__name__)(**given)
            elif runs(rows) or native.is_narrow(rows):
                wide = given if runs(rows) else {name: _widened(value) for name, value in given.items()}
                terms = (term for name, value in wide.items() for term in _kernel_terms(name, value))
                kernel(*terms, native.threads())
                for name in changes.split():
                    if wide[name] is not given[name]:
                        given[name].copy_(wide[name])
            else:
                twin(**given)  # pyright: ignore[reportCallIssue]

        return op

    return register


def _widened(value: Any) -> Any:
    is_narrow = isinstance(value, Tensor) and value.is_floating_point() and value.itemsize < 4
    return value.float() if is_narrow else value


def _kernel_terms(name: str, value: Any) -> tuple[Any, ...]:
    if name == "by_column":
        return ()
    if name != "dropout":
        return (native.array(value) if isinstance(value, Tensor) else value,)
    if value is None:
        return (None, 0, 0, 1.0)
    assert isinstance(value, Dropout)
    return (native.array(value.edge_keys), value.key, threshold(value.p), keep_scale(value.p))
