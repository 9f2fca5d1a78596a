"""`Rows`: a tensor that shows the whole graph's shape and holds this rank's rows.

What is done to it keeps the meaning of one process or is refused by name: `rows.table` says what each function of torch
means. A wrapper below autograd (``__torch_dispatch__``, as `DTensor` is) would lose the space wherever sizes are plain
numbers, and cost more at each call, in backward again.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch._dynamo.config
import torch._dynamo.trace_rules
from torch import Tensor

from fullgraph.rows.space import Space

functions_off = torch._C.DisableTorchFunctionSubclass
functions_on = torch._C._EnableTorchFunction
_plain_shape = Tensor.shape.__get__  # pyright: ignore[reportAttributeAccessIssue]


Meaning = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]


class _Meanings(dict[Any, Meaning]):
    """Of functions of torch, as far as they were asked for; how they are found is `rows.table`'s."""

    resolve: Callable[[Any], Meaning]

    def __missing__(self, func: Any) -> Meaning:
        return self.setdefault(func, self.resolve(func))


MEANINGS = _Meanings()


class Rows(Tensor):
    """This rank's rows of a tensor of the whole graph."""

    _space: Space
    _dim: int
    _is_lazy = False

    def __init_subclass__(cls) -> None:
        torch._dynamo.config.nontraceable_tensor_subclasses.add(cls)

    @property
    def read(self) -> "Rows":
        """The rows in memory; of lazy ones, made when they are asked for."""
        return self

    @classmethod
    @torch._disable_dynamo  # pyright: ignore[reportPrivateImportUsage]
    def __torch_function__(
        cls, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return MEANINGS[func](func, args, kwargs or {})


# ``torch.compile`` leaves what works on `Rows` as it is: compiled code would have this rank's sizes for the graph's.
# Dynamo makes fake tensors of the local memory and guards their shapes. Told not to trace `Rows`, it breaks its graph
# wherever they are used, compiles what is between, and follows no call into what works on them.
torch._dynamo.config.nontraceable_tensor_subclasses.add(Rows)
for _package in ("comm", "engine", "graph", "ops", "pyg", "rows"):
    torch._dynamo.trace_rules.add(f"fullgraph.{_package}")


def rows(x: Tensor, space: Space, dim: int = 0) -> Rows:
    """``x``, whose dimension ``dim`` are this rank's rows of ``space``, as `Rows`: the same object, no copy.

    The caller must not hold ``x`` as anything else.
    """
    if not isinstance(x, Rows):
        if type(x) is not Tensor:
            with functions_off():
                x = x.as_subclass(Tensor)
        x.__class__ = Rows
    x._space, x._dim = space, dim  # pyright: ignore[reportAttributeAccessIssue]
    return x  # pyright: ignore[reportReturnType]


def is_rows(x: Any) -> bool:
    """Whether ``x`` is `Rows`."""
    return isinstance(x, Rows)


def local(x: Tensor) -> Tensor:
    """This rank's rows as a plain tensor: a view that autograd follows."""
    with functions_off():
        return (x.read if getattr(x, "_is_lazy", False) else x).as_subclass(Tensor)  # pyright: ignore[reportAttributeAccessIssue]


def global_shape(x: Tensor) -> torch.Size:
    """The whole graph's shape of `Rows`; the number of rows knows its space. For use where torch functions are off."""
    shape = list(_plain_shape(x))
    shape[x._dim] = x._space.count  # pyright: ignore[reportAttributeAccessIssue]
    return torch.Size(shape)


def sizes(x: Tensor) -> list[int]:
    """The sizes of any tensor, of `Rows` the whole graph's, as plain numbers. For use where torch functions are off."""
    return [int(size) for size in (global_shape(x) if isinstance(x, Rows) else _plain_shape(x))]


def without_memory(x: Tensor) -> Tensor:
    """A tensor of the whole graph's shape that holds nothing, for torch to say what it would make of it."""
    return torch.empty(sizes(x), dtype=x.dtype, device="meta")
