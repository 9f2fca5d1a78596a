"""Softmax and logsumexp: along columns each row for itself, along rows over all ranks."""

from typing import Any

import torch
from torch import Tensor

from fullgraph.rows.adjoints import sum_over_ranks
from fullgraph.rows.alignment import wrapped_at
from fullgraph.rows.arguments import dims_of, named, rows_among
from fullgraph.rows.extremes import extreme
from fullgraph.rows.reductions import Reduction, is_continuous, reduction, wide, wrong_for_torch
from fullgraph.rows.table import entered_values, meaning, name_of
from fullgraph.rows.tensor import Rows, local, rows


@meaning("softmax log_softmax special_softmax special_log_softmax", enters=False)
def _softmax(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Rows:
    given = named(args, kwargs, "input dim dtype")
    x, dim = rows_among(func, given), given.get("dim")
    along_rows = dim is not None and dims_of(x, dim) == (x._dim,)
    if along_rows:
        x._space.view.check()
    if not along_rows or x._space.view.is_alone or x._space.num_rows == 0:
        return wrapped_at(func(*args, **kwargs), x._space, x._dim)
    return _over_rows(name_of(func), x, given.get("dtype"))


def _over_rows(name: str, x: Rows, dtype: torch.dtype | None) -> Rows:
    given = local(x) if dtype is None else local(x).to(dtype)
    like = torch.softmax(given.new_zeros(1), 0, dtype=dtype).dtype  # or says which dtypes it does not take
    own, view, dim = wide(given), x._space.view, x._dim
    below = own - extreme(own, dim, (dim,), view, largest=True)
    exponents = below.exp()
    total = entered_values([sum_over_ranks(exponents.sum(dim, keepdim=True), view)], view)[0]
    out = below - total.log() if "log" in name else exponents / total
    return rows(out.to(like), x._space, dim)


@reduction("logsumexp special_logsumexp")
def _logsumexp(func: Any, asked: Reduction) -> Tensor:
    if asked.own.is_complex():
        return wrong_for_torch(func, asked)
    dtype = asked.own.dtype if is_continuous(asked.own.dtype) else torch.get_default_dtype()
    own = wide(asked.own.to(dtype))
    largest = extreme(own, asked.row_dim, asked.dims, asked.view, largest=True)
    shift = torch.where(largest.isinf(), 0, largest)
    out = asked.total((own - shift).exp()).log() + asked.kept(shift)
    return asked.as_torch(out, lambda x: torch.logsumexp(x, 0))
