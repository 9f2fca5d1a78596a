"""Ways out of torch's functions for tensors: numbers of Python, other libraries' arrays, files and transforms.

Each is exact or refused, since whatever reads memory would read this rank's rows as if they were all. Nothing can be
done about ``x.as_subclass``, ``torch.Tensor(x)``, ``plain.data = x`` and ``data_ptr``, which ask no class of tensor.
"""

import functools
from collections.abc import Callable
from typing import Any, NoReturn

import torch
import torch._dynamo
import torch._functorch.eager_transforms
import torch._functorch.vmap
import torch.autograd.graph
import torch.distributed.distributed_c10d
import torch.utils.dlpack
from torch import Tensor

from fullgraph.rows.alignment import broadcast
from fullgraph.rows.calls import refuse, tensors_in
from fullgraph.rows.table import meaning, refused
from fullgraph.rows.tensor import MEANINGS, Rows, global_shape, local, sizes

_SHOWS = "would show this rank's rows as if they were all"

# -- numbers


@meaning("item __bool__ __nonzero__ __float__ __int__ __long__ __index__ __complex__")
def _number(func: Any, args: Any, kwargs: Any) -> Any:
    """The only entry there is, from the rank that has it; of more or none torch's own error."""
    x = args[0]
    shape, entry = global_shape(x), local(x).detach()
    if shape.numel() != 1:
        return func(entry.new_zeros(()).expand(shape))
    parts = torch.view_as_real(entry.resolve_conj()) if entry.is_complex() else entry
    total = x._space.view.sum(parts.reshape(-1, 2 if entry.is_complex() else 1).sum(0, dtype=parts.dtype))
    return func(torch.view_as_complex(total) if entry.is_complex() else total)


@meaning("equal")
def _equal(func: Any, args: Any, kwargs: Any) -> bool:
    x, other = (*args, *kwargs.values())
    if sizes(x) != sizes(other):
        return False
    (x, other), _, space, _ = broadcast(func, (x, other), {})
    return bool(space.view.min(torch.tensor(func(x, other), device=space.device)))


# -- memory, and copies of it


refused(
    """set_ swap_tensors resize_as_ resize_ as_strided as_strided_ storage tolist numpy __array__ __dlpack__
    __dlpack_device__""",
    _SHOWS,
)


@meaning("__reduce_ex__")
def _reduce(func: Any, args: Any, kwargs: Any) -> NoReturn:
    refuse("pickle, torch.save or copy.copy", "would keep this rank's rows as if they were all")


def _cuda_array(func: Any, args: Any, kwargs: Any) -> Any:
    """Torch's AttributeError on a CPU, so that a program may ask whether there is one."""
    return refuse("__cuda_array_interface__", _SHOWS) if args[0].is_cuda else func(local(args[0]))


MEANINGS[Tensor.__cuda_array_interface__.__get__] = _cuda_array  # pyright: ignore[reportFunctionMemberAccess]


# -- functions of torch that ask no tensor's class

_TRANSFORMS = (
    (torch._functorch.vmap, "_add_batch_dim", "torch.vmap"),
    (torch._functorch.vmap, "_remove_batch_dim", "torch.vmap"),
    (torch._functorch.eager_transforms, "_wrap_for_grad", "torch.func.grad, or another transform of torch.func,"),
    (torch._functorch.eager_transforms, "_wrap_functional_tensor", "torch.func.functionalize"),
)
"""Where a function of one tensor lies, and what a program calls that leads to it."""

_COLLECTIVES = (
    *("all_reduce", "reduce", "broadcast", "all_gather", "all_gather_into_tensor", "gather", "scatter", "send", "recv"),
    *("reduce_scatter", "reduce_scatter_tensor", "all_to_all", "all_to_all_single"),
)
_OTHERS = (
    (torch._C.ScriptFunction, "__call__", "a function of torch.jit.script"),
    (torch._C.ScriptMethod, "__call__", "a method of torch.jit.script"),
    (torch, "to_dlpack", "to_dlpack"),
    (torch.utils.dlpack, "to_dlpack", "to_dlpack"),
    (torch.nested, "nested_tensor", "torch.nested.nested_tensor"),
    (torch.autograd.graph, "get_gradient_edge", "torch.autograd.graph.get_gradient_edge"),
    *(
        (owner, name, f"torch.distributed.{name}")
        for name in _COLLECTIVES
        for owner in (torch.distributed, torch.distributed.distributed_c10d)
    ),
)
"""The same of functions of many."""


def _refuse_leak(called: str) -> NoReturn:
    refuse(called, "takes rows for an ordinary tensor, of this rank's rows alone")


def _refusing_rows(known: Callable[..., Any], called: str) -> Callable[..., Any]:
    @functools.wraps(known)
    def refusing(*args: Any, **kwargs: Any) -> Any:
        if any(isinstance(x, Rows) for x in tensors_in((args, kwargs))):
            _refuse_leak(called)
        return known(*args, **kwargs)

    return refusing


def _refusing_one(known: Callable[..., Any], called: str) -> Callable[..., Any]:
    """``torch.compile`` goes through it, as it does through what calls it."""

    @torch._dynamo.dont_skip_tracing
    def refusing(x: Any, *args: Any) -> Any:
        return _refuse_leak(called) if isinstance(x, Rows) else known(x, *args)

    return refusing


for _places, _guard in ((_TRANSFORMS, _refusing_one), (_OTHERS, _refusing_rows)):
    for _owner, _function, _called in _places:
        setattr(_owner, _function, _guard(getattr(_owner, _function), _called))
