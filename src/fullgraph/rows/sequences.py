"""Recurrent networks and attention: row by row where the rows are the batch; attention between all rows where they are
the sequence.

Attention between all rows gives every rank the keys and values of all of them, ``N × C`` numbers, and a rank computes
its own queries' results: exact, as attention needs every pair. What reads rows one after another is refused.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fullgraph.rows.adjoints import gather
from fullgraph.rows.alignment import at_rows, broadcast, one_space, with_more, wrapped
from fullgraph.rows.calls import mapped, refuse, tensors_in
from fullgraph.rows.table import body_of, called, composite, entered, meaning
from fullgraph.rows.tensor import Rows, functions_off, local, rows


@called("gru_cell lstm_cell rnn_tanh_cell rnn_relu_cell")
def _cell(func: Any, input: Tensor, hx: Any, *weights: Any, **others: Any) -> Any:
    _refuse_rows(func, (weights, others))
    space = one_space(func, (input, hx))
    input, hx = mapped((input, hx), lambda x: at_rows(func, x, space))
    return wrapped(func(input, hx, *weights, **others), space, 0)


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
    is_same = key is value
    key = gather(key) if _is_sequence(key, -2) else key
    value = key if is_same else gather(value) if _is_sequence(value, -2) else value
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
        # Of what is empty torch takes no gradient, or a second one by another way: ranks would not meet in backward.

        def with_a_row(x: Tensor) -> Tensor:
            is_empty = x.dim() >= right and x.shape[-right] == 0
            return with_more(x, x.dim() - right, 1, x.dtype == torch.bool) if is_empty else x

        given = mapped(given, with_a_row)
        out = func(*given, **options)
        return wrapped(out if space.num_own else out.narrow(-right, 0, 0), space, -right)


_multi_head = body_of(F.multi_head_attention_forward)


@composite("multi_head_attention_forward")
def _multi_head_attention(
    query: Tensor, key: Tensor, value: Tensor, *args: Any, key_padding_mask: Tensor | None = None, **kwargs: Any
) -> tuple[Tensor, Tensor | None]:
    """What torch's own code says; to all rows, every rank is told which of them are ignored."""
    if key_padding_mask is not None and _is_sequence(key, 0):
        key_padding_mask = gather(key_padding_mask)
    return _multi_head(query, key, value, *args, key_padding_mask=key_padding_mask, **kwargs)
