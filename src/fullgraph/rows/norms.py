"""Norms over rows; those of matrices, which are no sum of rows' shares, are refused."""

import math
from typing import Any

import torch
from torch import Tensor

from fullgraph.rows.arguments import dims_of, named
from fullgraph.rows.extremes import shared_extreme
from fullgraph.rows.gathering import gather
from fullgraph.rows.reductions import Reduction, is_continuous, is_half, reduce_rows, root, wide, wrong_for_torch
from fullgraph.rows.table import composite, entered_values, meaning, refuse
from fullgraph.rows.tensor import Rows, functions_off, local, rows


@meaning("linalg_vector_norm", enters=False)
def _vector_norm(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    given = named(args, kwargs, "input ord dim keepdim")
    return _reduce(func, args, kwargs, given, given.get("ord", 2))


@meaning("linalg_norm", enters=False)
def _linalg_norm(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    given = named(args, kwargs, "input ord dim keepdim")
    order = given.get("ord")
    if order is None:
        return _reduce(func, args, kwargs, given, 2)
    of_matrix = len(dims_of(given["input"], given.get("dim"))) > 1
    if of_matrix and order == "fro":
        return _reduce(func, args, kwargs, given, 2)
    return _reduce(func, args, kwargs, given, "of a matrix" if of_matrix else order)


def _reduce(func: Any, args: Any, kwargs: Any, given: dict[str, Any], p: Any) -> Any:
    if isinstance(p, Tensor):
        if isinstance(p, Rows) or p.requires_grad:
            refuse(func, "needs a number as its order")
        p = p.item()

    def over_rows(func: Any, asked: Reduction) -> Tensor:
        if isinstance(p, str) or -math.inf < p < 0:
            refuse(func, f"of this order is not known for rows: {p}")
        return _of_rows(func, asked, p)

    return reduce_rows(func, args, kwargs, given, over_rows)


def _of_rows(func: Any, asked: Reduction, p: float) -> Tensor:
    dtype = asked.given.get("dtype") or asked.own.dtype
    if not is_continuous(dtype):
        return wrong_for_torch(func, asked)
    torch.linalg.vector_norm(asked.own.new_zeros(1), dtype=asked.given.get("dtype"))  # says if that would narrow
    own = wide(asked.own.to(dtype))
    if math.isinf(p):
        out = shared_extreme(own.abs(), asked, largest=p > 0, nan_is_one=True)
    elif p == 0:
        out = asked.total(_power(own.abs(), 0))
    elif p == 1:
        out = asked.total(own.abs())
    elif p == 2:
        out = root(asked.total((own * own.conj()).real if own.is_complex() else own * own))
    else:
        out = _power(asked.total(_power(own.abs(), p)), 1 / p)
    if dtype.is_complex or not is_half(asked.own):
        return out
    return asked.as_torch(out, torch.norm)


def _power(x: Tensor, p: float) -> Tensor:
    """``x ** p`` of what is not negative, whose gradient at 0 is 0, as of torch's norms."""
    zero = x == 0
    return torch.where(zero, 0, torch.where(zero, 1, x) ** p)


@composite("dist")
def _dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    return torch.norm(input - other, p)


@composite("cdist")
def _cdist(x1: Tensor, x2: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Distances of each row of ``x1`` from all of ``x2``, which are gathered."""
    return _from_all(x1, gather(x2), args, kwargs)


def _from_all(x1: Tensor, x2: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    if not isinstance(x1, Rows):
        return torch.cdist(x1, x2, *args, **kwargs)
    if x1._dim != x1.dim() - 2:
        refuse(torch.cdist, "of rows in another dimension than the last but one")
    (entered_x2,) = entered_values([x2], x1._space.view)
    with functions_off():
        out = torch.cdist(local(x1), entered_x2, *args, **kwargs)
        return rows(out, x1._space, out.dim() - 2)
