"""New tensors: of a size that counts the rows of a space they are rows of it, of any other every rank has them.

`Rows` see no call that has none of them among its arguments, nor those that read a tensor's memory as numbers. The one
function mode of the package does, and passes everything else on at the price of a look-up.
"""

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack

from fullgraph.engine import keyed_normal, keyed_uniform
from fullgraph.rows import gradients  # noqa: F401  what backward means
from fullgraph.rows.draws import check_no_generator, drawn, integers
from fullgraph.rows.losses import weight_of_l1_loss
from fullgraph.rows.routes import Here
from fullgraph.rows.space import Count, Space
from fullgraph.rows.table import meaning, name_of, refuse, tensors_in
from fullgraph.rows.tensor import MEANINGS, Rows, functions_off, rows
from fullgraph.rows.ways import ways_of


def _space_in(func: Any, size: Sequence[int]) -> tuple[Space, int] | None:
    """The space that a size counts the rows of, and which entry does; None if none does.

    Raises:
        UnsupportedOperation: if several do.
    """
    counts = [place for place, entry in enumerate(size) if isinstance(entry, Count)]
    if len(counts) > 1:
        refuse(func, "would have a row for each pair of rows")
    return (size[counts[0]].space, counts[0]) if counts else None  # pyright: ignore[reportAttributeAccessIssue]


def _own_size(size: Sequence[int], space: Space, dim: int) -> tuple[int, ...]:
    return (*map(int, size[:dim]), space.num_own, *map(int, size[dim + 1 :]))


def _size_at(place: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Sequence[int], int]:
    """The size, which stands at ``place`` of the arguments, as one or as several, and where the arguments go on."""
    if "size" in kwargs:
        return kwargs["size"], place
    if len(args) > place and isinstance(args[place], list | tuple):
        return args[place], place + 1
    return args[place:], len(args)


def _sized(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Tensors of one value or of none: of torch, or with a tensor before the size."""
    place = 1 if name_of(func).startswith("new_") else 0
    size, rest = _size_at(place, args, kwargs)
    found = _space_in(func, size)
    if found is None:
        return func(*args, **kwargs)
    _check_no_out(func, kwargs)
    kwargs = {**kwargs, "size": _own_size(size, *found)}
    if place:  # Tensor.new_… takes no size by name from some of them
        return rows(func(args[0], kwargs.pop("size"), *args[rest:], **kwargs), *found)
    return rows(func(kwargs.pop("size"), *args[rest:], **kwargs), *found)


@meaning("new_zeros new_ones new_empty new_full")
def _new(func: Any, args: Any, kwargs: Any) -> Tensor:
    return _sized(func, args, kwargs)


@meaning("new_tensor")
def _new_tensor(func: Any, args: Any, kwargs: Any) -> Tensor:
    if any(isinstance(x, Rows) for x in tensors_in((args[1:], kwargs))):
        _refuse_leak(func)
    return func(*args, **kwargs)


def _check_no_out(func: Any, kwargs: dict[str, Any]) -> None:
    if kwargs.get("out") is not None:
        refuse(func, "does not write rows into out=")


def _drawn(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """``torch.rand`` and ``torch.randn``; what every rank has comes from torch's generator, or from a given one."""
    size, _ = _size_at(0, args, kwargs)
    found = _space_in(func, size)
    if found is None or kwargs.get("generator") is not None:
        return func(*args, **kwargs)
    options = _options(func, kwargs)
    draw = keyed_normal if func is torch.randn else keyed_uniform
    dtype = options["dtype"] or torch.get_default_dtype()
    return _as_asked(drawn(draw, _own_size(size, *found), *found, dtype), found, options)


def _drawn_integers(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """``torch.randint``: the size comes after one or two bounds."""
    given = [kwargs[name] for name in ("low", "high") if name in kwargs]
    size = kwargs["size"] if "size" in kwargs else args[-1]
    found = _space_in(func, size) if isinstance(size, list | tuple) else None
    if found is None or kwargs.get("generator") is not None:
        return func(*args, **kwargs)
    options = _options(func, kwargs)
    bounds = [*(args if "size" in kwargs else args[:-1]), *given]
    low, high = bounds if len(bounds) == 2 else (0, bounds[0])
    uniform = drawn(keyed_uniform, _own_size(size, *found), *found, torch.float64)
    return _as_asked(integers(uniform, low, high), found, options)


def _options(func: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    check_no_generator(func, kwargs)
    _check_no_out(func, kwargs)
    return {name: kwargs.get(name) for name in ("dtype", "device", "requires_grad")}


def _as_asked(values: Tensor, found: tuple[Space, int], options: dict[str, Any]) -> Tensor:
    device = options["device"] or torch.get_default_device()
    out = rows(values.to(device=device, dtype=options["dtype"]), *found)
    with functions_off():
        return out.requires_grad_(bool(options["requires_grad"]))


def _arange(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """From 0 to a number of rows in steps of 1: each row's position, which leads to this row. Else every rank's."""
    end = kwargs.get("end", args[0] if len(args) == 1 else args[1] if len(args) > 1 else None)
    given = [*args, *(kwargs[name] for name in ("start", "step") if name in kwargs)]
    others = [n for n in given if n is not end]
    if not isinstance(end, Count) or others not in ([], [0], [0, 1]) or any(type(n) is not int for n in others):
        return func(*args, **kwargs)
    _check_no_out(func, kwargs)
    space = end.space
    dtype, device = kwargs.get("dtype") or torch.int64, kwargs.get("device") or torch.get_default_device()
    with functions_off():
        out = rows(space.positions.to(device=device, dtype=dtype, copy=True), space)
        if dtype == torch.int64 and not out.is_inference():
            ways_of(out)[space] = (out._version, Here(torch.arange(space.num_own, device=space.device)))
        return out.requires_grad_(kwargs.get("requires_grad", False))


def _refuse_square(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    if any(isinstance(n, Count) for n in (*args, *kwargs.values())):
        refuse(func, "would have a row for each pair of rows")
    return func(*args, **kwargs)


def _refuse_leak(func: Any) -> NoReturn:
    refuse(func, "would read this rank's rows as if they were all")


def _from_data(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Tensors made of data, which must not be `Rows` or contain them."""
    if any(isinstance(x, Rows) for x in tensors_in((args, kwargs))):
        _refuse_leak(func)
    return func(*args, **kwargs)


def _as_tensor(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """`Rows` as they are, or as they are asked for."""
    data = args[0] if args else kwargs.get("data")
    if not isinstance(data, Rows):
        return _from_data(func, args, kwargs)
    dtype = args[1] if len(args) > 1 else kwargs.get("dtype")
    device = args[2] if len(args) > 2 else kwargs.get("device")
    return data if dtype is None and device is None else data.to(dtype=dtype, device=device)


def _l1_loss(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """With the weight that torch 2.13 does not hand over to modes."""
    return func(*args, **kwargs, weight=weight_of_l1_loss())


_Handler = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]

_SEEN: dict[Any, _Handler] = {
    **dict.fromkeys((torch.zeros, torch.ones, torch.empty, torch.full), _sized),
    **dict.fromkeys((Tensor.new_zeros, Tensor.new_ones, Tensor.new_empty, Tensor.new_full), _sized),
    **dict.fromkeys((torch.rand, torch.randn), _drawn),
    torch.randint: _drawn_integers,
    torch.arange: _arange,
    torch.eye: _refuse_square,
    torch.as_tensor: _as_tensor,
    Tensor.new_tensor: _new_tensor,
    **dict.fromkeys(
        (
            torch.tensor,
            torch.asarray,
            torch.scalar_tensor,
            torch.sparse_coo_tensor,
            torch.sparse_csr_tensor,
            torch.sparse_csc_tensor,
            torch.sparse_bsr_tensor,
            torch.sparse_bsc_tensor,
            torch.sparse_compressed_tensor,
        ),
        _from_data,
    ),
    F.l1_loss: _l1_loss,
}
_BACKWARD = frozenset((torch.autograd.grad, torch.autograd.backward, Tensor.backward))


class GlobalView(TorchFunctionMode):
    """Shows calls that `Rows` do not see: factories, what reads memory, and backward."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if torch.compiler.is_compiling():  # where no rows are (`rows.compiling`)
            return func(*args, **(kwargs or {}))
        seen = _SEEN.get(func)
        if seen is not None:
            return seen(func, args, kwargs or {})
        if func in _BACKWARD:
            return self._backward(func, args, kwargs or {})
        return func(*args, **kwargs) if kwargs else func(*args)

    def _backward(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Autograd, with this mode on: hooks and checkpoints run a program's code there. Torch would leave it off."""
        if kwargs.get("is_grads_batched"):
            return func(*args, **kwargs)
        with self:
            return MEANINGS[func](func, args, kwargs)


def enter_global_view() -> None:
    """Be in the global view from here on, in this thread; again changes nothing."""
    if not any(isinstance(mode, GlobalView) for mode in _get_current_function_mode_stack()):
        GlobalView().__enter__()
