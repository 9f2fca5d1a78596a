"""New tensors: of a size that counts the rows of a space they are rows of it, of any other every rank has them.

`Rows` see no call that has none of them among its arguments, nor those that read a tensor's memory as numbers. The one
function mode of the package does, and passes everything else on at the price of a look-up.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack

from fullgraph.engine import keyed_normal, keyed_uniform
from fullgraph.rows import gradients  # noqa: F401  what backward means
from fullgraph.rows.calls import name_of, named, refuse, tensors_in
from fullgraph.rows.draws import as_asked, drawn, integers
from fullgraph.rows.losses import weight_of_l1_loss
from fullgraph.rows.routes import Here, ways_of
from fullgraph.rows.space import Count, Space
from fullgraph.rows.table import meaning
from fullgraph.rows.tensor import MEANINGS, Meaning, Rows, rows


def _rows_of(
    func: Any, args: tuple[Any, ...], kwargs: Any, size: Any, make: Callable[[tuple[int, ...], Space, int], Tensor]
) -> Tensor:
    """Rows of the space that an entry of the size counts, made of the size of this rank's, its space and which entry.

    Torch's own, which every rank has, if none does, or from the numbers of a generator.
    """
    counts = [place for place, entry in enumerate(size) if isinstance(entry, Count)]
    if len(counts) > 1:
        refuse(func, "would have a row for each pair of rows")
    if not counts or kwargs.get("generator") is not None:
        return func(*args, **kwargs)
    if kwargs.get("out") is not None:
        refuse(func, "does not write rows into out=")
    (dim,), space = counts, size[counts[0]].space
    return rows(make((*map(int, size[:dim]), space.num_own, *map(int, size[dim + 1 :])), space, dim), space, dim)


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
    options = {name: value for name, value in kwargs.items() if name != "size"}
    return _rows_of(func, args, kwargs, size, lambda own, *_: func(*args[:place], own, *args[rest:], **options))


meaning("new_zeros new_ones new_empty new_full")(_sized)


def _drawn(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """``torch.rand`` and ``torch.randn``."""

    def make(own: tuple[int, ...], space: Space, dim: int) -> Tensor:
        draw = keyed_normal if func is torch.randn else keyed_uniform
        return _as_asked(drawn(draw, own, space, dim, kwargs.get("dtype") or torch.get_default_dtype()), kwargs)

    return _rows_of(func, args, kwargs, _size_at(0, args, kwargs)[0], make)


def _drawn_integers(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """``torch.randint``: the size comes after one or two bounds."""

    def make(own: tuple[int, ...], space: Space, dim: int) -> Tensor:
        bounds = [
            *(args if "size" in kwargs else args[:-1]),
            *(kwargs[name] for name in ("low", "high") if name in kwargs),
        ]
        low, high = bounds if len(bounds) == 2 else (0, bounds[0])
        return _as_asked(integers(drawn(keyed_uniform, own, space, dim, torch.float64), low, high), kwargs)

    size = kwargs["size"] if "size" in kwargs else args[-1]
    return _rows_of(func, args, kwargs, size if isinstance(size, list | tuple) else (), make)


def _as_asked(values: Tensor, options: dict[str, Any]) -> Tensor:
    return as_asked(values, **{**options, "device": options.get("device") or torch.get_default_device()})


def _arange(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """From 0 to a number of rows in steps of 1: each row's position, which leads to this row. Else every rank's."""
    end = kwargs.get("end", args[0] if len(args) == 1 else args[1] if len(args) > 1 else None)
    given = [*args, *(kwargs[name] for name in ("start", "step") if name in kwargs)]
    others = [n for n in given if n is not end]
    if not isinstance(end, Count) or others not in ([], [0], [0, 1]) or any(type(n) is not int for n in others):
        return func(*args, **kwargs)
    space, dtype = end.space, kwargs.get("dtype") or torch.int64
    positions = _rows_of(
        func, args, kwargs, (end,), lambda *_: _as_asked(space.positions.clone(), {**kwargs, "dtype": dtype})
    )
    if dtype == torch.int64 and not positions.is_inference():
        ways_of(positions)[space] = (positions._version, Here(torch.arange(space.num_own, device=space.device)))
    return positions


def _refuse_square(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    if any(isinstance(n, Count) for n in (*args, *kwargs.values())):
        refuse(func, "would have a row for each pair of rows")
    return func(*args, **kwargs)


def _from_data(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Tensors made of data, which must not be `Rows` or contain them."""
    data = args[1:] if func is Tensor.new_tensor else args
    if any(isinstance(x, Rows) for x in tensors_in((data, kwargs))):
        refuse(func, "would read this rank's rows as if they were all")
    return func(*args, **kwargs)


meaning("new_tensor")(_from_data)


def _as_tensor(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """`Rows` as they are, or as they are asked for."""
    given = named(args, kwargs, "data dtype device")
    data = given.pop("data", None)
    if not isinstance(data, Rows):
        return _from_data(func, args, kwargs)
    return data if all(value is None for value in given.values()) else data.to(**given)


_OF_DATA = """tensor asarray scalar_tensor sparse_coo_tensor sparse_csr_tensor sparse_csc_tensor sparse_bsr_tensor
    sparse_bsc_tensor sparse_compressed_tensor"""
_SEEN: dict[Any, Meaning] = {
    **dict.fromkeys((torch.zeros, torch.ones, torch.empty, torch.full), _sized),
    **dict.fromkeys((Tensor.new_zeros, Tensor.new_ones, Tensor.new_empty, Tensor.new_full), _sized),
    **dict.fromkeys((torch.rand, torch.randn), _drawn),
    torch.randint: _drawn_integers,
    torch.arange: _arange,
    torch.eye: _refuse_square,
    torch.as_tensor: _as_tensor,
    **dict.fromkeys((Tensor.new_tensor, *(getattr(torch, name) for name in _OF_DATA.split())), _from_data),
    # with the weight that torch 2.13 does not hand over to modes
    F.l1_loss: lambda func, args, kwargs: func(*args, **kwargs, weight=weight_of_l1_loss()),
}
_BACKWARD = frozenset((torch.autograd.grad, torch.autograd.backward, Tensor.backward))


class GlobalView(TorchFunctionMode):
    """Shows calls that `Rows` do not see: factories, what reads memory, and backward."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if torch.compiler.is_compiling():  # where no rows are (`rows.tensor`)
            return func(*args, **(kwargs or {}))
        seen = _SEEN.get(func)
        if seen is not None:
            return seen(func, args, kwargs or {})
        if func in _BACKWARD and not (kwargs and kwargs.get("is_grads_batched")):
            with self:  # as hooks and checkpoints run a program's code there; torch would leave it off
                return MEANINGS[func](func, args, kwargs or {})
        return func(*args, **kwargs) if kwargs else func(*args)


def enter_global_view() -> None:
    """Be in the global view from here on, in this thread; again changes nothing."""
    if not any(isinstance(mode, GlobalView) for mode in _get_current_function_mode_stack()):
        GlobalView().__enter__()
