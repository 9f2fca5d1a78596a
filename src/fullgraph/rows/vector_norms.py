"""`torch.norm`, softmax and logsumexp over rows; norms of matrices, which are no sum of rows' shares, are refused."""

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from fullgraph.rows.adjoints import gather
from fullgraph.rows.alignment import wrapped
from fullgraph.rows.calls import dims_of, name_of, named, refuse, rows_only
from fullgraph.rows.reductions import Reduction, extreme, power, reduce_rows, reduction, shared_extreme, wide
from fullgraph.rows.table import called, composite, entered_values, meaning
from fullgraph.rows.tensor import Rows, functions_off, functions_on, local, rows


@meaning("linalg_vector_norm linalg_norm", enters=False)
def _norm(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    given = named(args, kwargs, "input ord dim keepdim")
    p = given.get("ord")
    if name_of(func) == "linalg_norm" and p is not None and len(dims_of(given["input"], given.get("dim"))) > 1:
        p = 2 if p == "fro" else "of a matrix"
    if isinstance(p, Tensor):
        if isinstance(p, Rows) or p.requires_grad:
            refuse(func, "needs a number as its order")
        p = p.item()
    return reduce_rows(func, args, kwargs, given, lambda asked: _of_rows(asked, 2 if p is None else p))


def _of_rows(asked: Reduction, p: Any) -> Tensor:
    if isinstance(p, str) or -math.inf < p < 0:
        refuse(asked.func, f"of this order is not known for rows: {p}")
    own = asked.own
    if math.isinf(p):
        return shared_extreme(replace(asked, own=own.abs()), largest=p > 0, nan_is_one=True)
    if p == 2:
        return power(asked.total((own * own.conj()).real if own.is_complex() else own * own), 0.5)
    total = asked.total(own.abs() if p == 1 else power(own.abs(), p))
    return total if p in (0, 1) else power(total, 1 / p)


@called("softmax log_softmax special_softmax special_log_softmax", enters=False)
def _softmax(func: Any, input: Rows, dim: Any = None, dtype: torch.dtype | None = None, **others: Any) -> Rows:
    x, space = rows_only(func, input), input._space
    along_rows = dim is not None and dims_of(x, dim) == (x._dim,)
    if along_rows:
        space.view.check()
    if not along_rows or space.view.is_alone or space.num_rows == 0:
        return wrapped(func(input, dim, dtype=dtype, **others), space, x._dim)
    like = torch.softmax(local(x).new_zeros(1), 0, dtype=dtype).dtype  # or says which dtypes it does not take
    with functions_on():
        own = wide(x if dtype is None else x.to(dtype))
        below = own - own.detach().amax(x._dim, keepdim=True)
        exponents = below.exp()
        total = exponents.sum(x._dim, keepdim=True)
        return (below - total.log() if "log" in name_of(func) else exponents / total).to(like)  # pyright: ignore[reportReturnType]


@reduction("logsumexp special_logsumexp")
def _logsumexp(asked: Reduction) -> Tensor:
    if asked.own.is_complex():
        refuse(asked.func, "of complex rows")
    asked = replace(asked, own=asked.own if asked.own.is_floating_point() else asked.own.to(torch.get_default_dtype()))
    largest = extreme(asked, largest=True)
    shift = torch.where(largest.isinf(), 0, largest)
    return asked.total((asked.own - shift).exp()).log() + asked.kept(shift)


@composite("cdist")
def _cdist(x1: Tensor, x2: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Distances of each row of ``x1`` from all of ``x2``, which are gathered."""
    x2 = gather(x2)
    if not isinstance(x1, Rows):
        return torch.cdist(x1, x2, *args, **kwargs)
    if x1._dim != x1.dim() - 2:
        refuse(torch.cdist, "of rows in another dimension than the last but one")
    with functions_off():
        (x2,) = entered_values([x2], x1._space.view)
        out = torch.cdist(local(x1), x2, *args, **kwargs)
        return rows(out, x1._space, out.dim() - 2)
