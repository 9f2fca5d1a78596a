"""Recurrent networks and attention: row by row where the rows are the batch; attention between all rows where they are
the sequence.

Attention between all rows gives every rank the keys and values of all of them, ``N × C`` numbers, and a rank computes
its own queries' results: exact, as attention needs every pair. What reads rows one after another is refused.
"""

import inspect
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fullgraph.rows.alignment import at_rows, broadcast, by_name, one_space, wrapped, wrapped_at
from fullgraph.rows.gathering import gather
from fullgraph.rows.space import Space
from fullgraph.rows.table import composite, entered, mapped, meaning, refuse, tensors_in
from fullgraph.rows.tensor import Rows, functions_off, local, rows


@meaning("gru_cell lstm_cell rnn_tanh_cell rnn_relu_cell")
def _cell(func: Any, args: Any, kwargs: Any) -> Any:
    given = by_name(args, kwargs, "input hx w_ih w_hh b_ih b_hh")
    input, state = given.pop("input"), given.pop("hx")
    _refuse_rows(func, given)
    space = one_space(func, (input, state))
    input, state = mapped((input, state), lambda x: at_rows(func, x, space))
    return wrapped_at(func(input, state, **given), space, 0)


@meaning("lstm gru rnn_tanh rnn_relu")
def _recurrent(func: Any, args: Any, kwargs: Any) -> Any:
    if kwargs or len(args) != 9 or not isinstance(args[3], bool):
        refuse(func, "of packed sequences")
    input, state, weights, _, num_layers, dropout, training, _, batch_first = args
    _refuse_rows(func, weights)
    batch = 0 if batch_first else 1
    if isinstance(input, Rows) and input._dim != batch:
        refuse(func, "of rows one after another")
    if training and dropout > 0 and num_layers > 1:
        refuse(func, "with dropout between its layers")
    space = one_space(func, (input, state))
    input = at_rows(func, input, space, batch)
    state = mapped(state, lambda x: at_rows(func, x, space, 1))
    out, *last = func(input, state, *args[2:])
    return rows(out, space, batch), *(rows(x, space, 1) for x in last)


def _refuse_rows(func: Any, weights: Any) -> None:
    if any(isinstance(x, Rows) for x in tensors_in(weights)):
        refuse(func, "with rows as weights")


def _gathered(key: Tensor, value: Tensor, sequence: int) -> tuple[Tensor, Tensor]:
    """Keys and values, all of them on every rank if rows are their sequence, dimension ``sequence``."""
    together = key is value
    key = gather(key) if _is_sequence(key, sequence) else key
    if together:
        return key, key
    return key, gather(value) if _is_sequence(value, sequence) else value


def _is_sequence(x: Tensor, sequence: int) -> bool:
    return isinstance(x, Rows) and x._dim == sequence % x.dim()


@composite("scaled_dot_product_attention")
def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    func, three = F.scaled_dot_product_attention, (query, key, value)
    options = {"is_causal": is_causal, "scale": scale, "enable_gqa": enable_gqa}
    if dropout_p > 0:
        refuse(func, "with dropout")
    if any(_is_sequence(x, -1) for x in three):
        refuse(func, "with rows as features")
    if any(_is_sequence(x, -2) for x in three) and (attn_mask is not None or is_causal):
        refuse(func, "between all rows with a mask")
    key, value = _gathered(key, value, -2)
    if not any(isinstance(x, Rows) for x in (query, key, value, attn_mask)):
        return func(query, key, value, attn_mask, **options)
    with functions_off():
        given, _ = entered((query, key, value, attn_mask), {})
        if isinstance(query, Rows) and _is_sequence(query, -2):
            _refuse_rows(func, given[1:])
            space, right = query._space, 2
            given = (local(query), *given[1:])
        else:
            given, _, space, right = broadcast(func, given, {})
        if enable_gqa and right == 3:
            refuse(func, "with rows as heads")
        given = mapped(given, lambda x: _with_a_row(x, x.dim() - right, x.dtype == torch.bool))
        return wrapped(_own_rows(func(*given, **options), space, -right), space, right)


def _with_a_row(x: Tensor, dim: int, fill: int = 0) -> Tensor:
    """``x``, with a row where this rank has none, for `_own_rows` to take away again.

    Of what is empty torch takes no gradient, or a second one by another way: ranks would not meet in backward.
    """
    if dim < 0 or x.shape[dim] > 0:
        return x
    shape = [1 if at == dim else size for at, size in enumerate(x.shape)]
    return torch.cat([x, x.new_full(shape, fill)], dim)


def _own_rows(out: Tensor, space: Space, dim: int) -> Tensor:
    return out.narrow(dim, 0, 0) if space.num_own == 0 else out


@composite("multi_head_attention_forward")
def _multi_head_attention(*args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
    func = F.multi_head_attention_forward
    given = inspect.signature(func).bind(*args, **kwargs).arguments
    query, key, value = three = given["query"], given["key"], given["value"]
    padding = given.get("key_padding_mask")
    masks = [given.get(name) for name in ("attn_mask", "static_k", "static_v")]
    if given.get("training", True) and given["dropout_p"] > 0:
        refuse(func, "with dropout")
    if any(_is_sequence(x, -1) for x in three):
        refuse(func, "with rows as features")
    if any(_is_sequence(x, 0) for x in three):
        if given.get("is_causal") or any(mask is not None for mask in masks):
            refuse(func, "between all rows with a mask")
        given["key"], given["value"] = _gathered(key, value, 0)
        if padding is not None:
            given["key_padding_mask"] = gather(padding)
        if not any(isinstance(x, Rows) for x in tensors_in(given)):
            return func(**given)
        return _of_own_queries(func, query, given)
    return _of_own_batch(func, given, [padding, *masks])


def _of_own_queries(func: Any, query: Tensor, given: dict[str, Any]) -> tuple[Tensor, Tensor | None]:
    """Attention of own rows to what every rank has."""
    _refuse_rows(func, {**given, "query": None})
    if not _is_sequence(query, 0):
        refuse(func, "of a batch of rows to all rows")
    with functions_off():
        _, given = entered((), given)
        space = query._space  # pyright: ignore[reportAttributeAccessIssue]
        out, weights = func(**{**given, "query": _with_a_row(local(query), 0)})
        return _wrapped_pair(out, weights, space, 0, -2)


def _of_own_batch(func: Any, given: dict[str, Any], masks: list[Tensor | None]) -> tuple[Tensor, Tensor | None]:
    """Attention within each row of a batch."""
    padding, mask, *static = masks
    if any(x is not None for x in static) or (mask is not None and (isinstance(mask, Rows) or mask.dim() != 2)):
        refuse(func, "with another mask for each row")
    with functions_off():
        _, given = entered((), given)
        names = ("query", "key", "value")
        space = one_space(func, [given[name] for name in names])
        cut: dict[str, Any] = {name: _with_a_row(at_rows(func, given[name], space, 1), 1) for name in names}
        cut["key_padding_mask"] = None if padding is None else _with_a_row(at_rows(func, padding, space), 0)
        _refuse_rows(func, {**given, **cut})
        out, weights = func(**{**given, **cut})
        return _wrapped_pair(out, weights, space, 1, 0)


def _wrapped_pair(
    out: Tensor, weights: Tensor | None, space: Space, dim: int, dim_of_weights: int
) -> tuple[Tensor, Tensor | None]:
    out = rows(_own_rows(out, space, dim), space, dim)
    if weights is None:
        return out, None
    dim_of_weights %= weights.dim()
    return out, rows(_own_rows(weights, space, dim_of_weights), space, dim_of_weights)
