"""What an operation on rows that stay on disk means; what is not listed here is refused by name.

Each function is called with torch functions on subclasses disabled and may answer NotImplemented.
"""

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from fullgraph.engine.disk.rows import MEANINGS, StreamedRows
from fullgraph.errors import UnsupportedOperation


def recorded(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``func``, which makes each row of the same row of its arguments alone, done to rows as they are read.

    NotImplemented if there is an argument that is a sum already, or of other rows, or if it does not give real rows.
    """
    given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, StreamedRows)]
    source = given[0].source
    if any(x.function or x.source.parts is not source.parts or x.source.dtype != source.dtype for x in given):
        return NotImplemented

    def step(rows: Tensor, places: slice | Tensor) -> Tensor:
        args_of, kwargs_of = tree_map(
            lambda x: x.source.stepped(rows, places) if isinstance(x, StreamedRows) else x, (args, kwargs)
        )
        return func(*args_of, **kwargs_of)

    of_none = step(torch.empty((0, source.stored_width), dtype=source.dtype, device=source.device), slice(0, 0))
    is_alike = of_none.dtype == source.dtype and of_none.device == source.device
    if not is_alike or of_none.dim() != 2 or len(of_none):
        return NotImplemented
    return StreamedRows.of(replace(source, steps=(step,), made_width=of_none.shape[1]))


def _linear(input: Any, weight: Tensor, bias: Tensor | None = None) -> Any:
    if not isinstance(input, StreamedRows) or isinstance(weight, StreamedRows) or weight.dim() != 2:
        return NotImplemented
    if torch.is_autocast_enabled(input.device.type) and input.dtype != torch.float64:  # which autocast leaves alone
        dtype = torch.get_autocast_dtype(input.device.type)
        weight, bias = weight.to(dtype), None if bias is None else bias.to(dtype)
    elif weight.dtype != input.dtype:
        raise UnsupportedOperation(
            f"a linear layer of dtype {weight.dtype} cannot take the streamed {input.source.name}; give it to the "
            f"model as {input.source.name}.to({weight.dtype}), or change the model's dtype; the rows are: {input.dtype}"
        )
    if weight.shape[1] != input.shape[1]:
        raise RuntimeError(f"rows of {input.shape[1]} numbers do not fit a matrix of shape {list(weight.shape)}")
    out = input.projected(weight)
    return out if bias is None else out.add_(bias)


def _matmul(input: Any, other: Tensor) -> Any:
    return _linear(input, other.t()) if other.dim() == 2 else NotImplemented


def _add(a: Any, b: Any, *, alpha: float = 1) -> Any:
    """Of two linear functions of the same rows."""
    if not (isinstance(a, StreamedRows) and isinstance(b, StreamedRows)) or a.source is not b.source or alpha != 1:
        return NotImplemented
    if a.shape != b.shape:
        return NotImplemented
    left, right = a.function, b.function
    return StreamedRows.of(
        a.source, lambda rows: (rows if left is None else left(rows)) + (rows if right is None else right(rows)), len(a)
    )


def _times(a: Any, b: Any) -> Any:
    """By one number, which may need a gradient."""
    rows, number = (a, b) if isinstance(a, StreamedRows) else (b, a)
    if isinstance(number, StreamedRows) or (isinstance(number, Tensor) and number.numel() != 1):
        return NotImplemented
    return rows.then(lambda projected: projected * number, len(rows))


def _to(rows: Any, *args: Any, **kwargs: Any) -> Any:
    device, dtype, *_ = torch._C._nn._parse_to(*args, **kwargs)  # pyright: ignore[reportAttributeAccessIssue]
    if device is not None and device != rows.device:
        return NotImplemented
    return _cast(rows, dtype or rows.dtype)


def _cast(rows: Any, dtype: torch.dtype) -> Any:
    if dtype == rows.dtype:
        return rows
    if rows.function is not None or rows.source.steps or not dtype.is_floating_point:
        return NotImplemented
    return StreamedRows.of(replace(rows.source, dtype=dtype))


def _choose(rows: Any, chosen: Any) -> Any:
    """Some rows, in memory."""
    if not isinstance(rows, StreamedRows) or rows.function is not None or type(chosen) not in (Tensor, slice):
        return NotImplemented
    if isinstance(chosen, Tensor) and chosen.dim() != 1:
        return NotImplemented
    return rows.source.chosen(torch.arange(len(rows), device=rows.device)[chosen])


def _index_select(rows: Any, dim: int, index: Tensor) -> Any:
    return _choose(rows, index) if dim in (0, -2) else NotImplemented


def _movedim(rows: Any, source: int, destination: int) -> Any:
    return rows if (source - destination) % 2 == 0 else NotImplemented


def _dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    return input if not training or p == 0 else NotImplemented  # `fullgraph.prepare` gives the model a keyed one


def _itself(rows: Any, *args: Any, **kwargs: Any) -> Any:
    return rows


def _described(rows: Any, *args: Any, **kwargs: Any) -> str:
    return f"StreamedRows({rows.source.name}, shape={list(rows.shape)}, dtype={rows.dtype})"


_T = Tensor
MEANINGS |= {
    F.linear: _linear,
    **dict.fromkeys([_T.matmul, torch.matmul, _T.mm, torch.mm, _T.__matmul__], _matmul),
    **dict.fromkeys([_T.add, torch.add, _T.__add__, _T.__radd__], _add),
    **dict.fromkeys([_T.mul, torch.mul, _T.__mul__, _T.__rmul__], _times),
    _T.to: _to,
    _T.float: lambda rows: _cast(rows, torch.float32),
    _T.double: lambda rows: _cast(rows, torch.float64),
    _T.__getitem__: _choose,
    **dict.fromkeys([_T.index_select, torch.index_select], _index_select),
    **dict.fromkeys([_T.movedim, torch.movedim], _movedim),
    F.dropout: _dropout,
    **dict.fromkeys([_T.detach, torch.detach, _T.clone, torch.clone, _T.__deepcopy__], _itself),
    _T.__repr__: _described,
}
_METHODS = "size dim ndimension numel nelement element_size get_device is_floating_point is_complex is_inference"
_ATTRIBUTES = (
    "shape dtype device layout ndim itemsize is_cuda is_cpu is_sparse is_sparse_csr is_quantized is_mkldnn is_meta "
    "is_nested is_leaf requires_grad grad grad_fn _version"
)
# Questions about shape and kind, which a tensor that is none in memory answers like any other.
_STRUCTURE: list[Any] = [
    *(getattr(_T, name) for name in (*_METHODS.split(), "__len__", "__hash__")),
    *(getattr(_T, name).__get__ for name in _ATTRIBUTES.split()),
    *(torch.numel, torch.is_floating_point, torch.is_complex),
]
MEANINGS |= {question: question for question in _STRUCTURE}
