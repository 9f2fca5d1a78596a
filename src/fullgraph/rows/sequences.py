"""Recurrent networks and attention: row by row where the rows are the batch; attention between all rows where they are
the sequence.

Attention between all rows gives every rank the keys and values of all of them, ``N × C`` numbers, and a rank computes
its own queries' results: exact, as attention needs every pair. What reads rows one after another is refused.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fullgraph.rows.alignment import at_rows, broadcast, one_space, wrapped, wrapped_at
from fullgraph.rows.arguments import named
from fullgraph.rows.bodies import body_of
from fullgraph.rows.gathering import gather
from fullgraph.rows.space import Space
from fullgraph.rows.table import composite, entered, mapped, meaning, refuse, tensors_in
from fullgraph.rows.tensor import Rows, functions_off, local, rows


@meaning("gru_cell lstm_cell rnn_tanh_cell rnn_relu_cell")
def _cell(func: Any, args: Any, kwargs: Any) -> Any:
    given = named(args, kwargs, "input hx w_ih w_hh b_ih b_hh")
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
    of_keys = attn_mask is None or (not isinstance(attn_mask, Rows) and attn_mask.shape[-2] == 1)
    if any(_is_sequence(x, -2) for x in three) and (not of_keys or is_causal):
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


_multi_head = body_of(F.multi_head_attention_forward)


@composite("multi_head_attention_forward")
def _multi_head_attention(
    query: Tensor, key: Tensor, value: Tensor, *args: Any, key_padding_mask: Tensor | None = None, **kwargs: Any
) -> tuple[Tensor, Tensor | None]:
    """What torch's own code says; to all rows, every rank is told which of them are ignored."""
    if key_padding_mask is not None and _is_sequence(key, 0):
        key_padding_mask = gather(key_padding_mask)
    return _multi_head(query, key, value, *args, key_padding_mask=key_padding_mask, **kwargs)
