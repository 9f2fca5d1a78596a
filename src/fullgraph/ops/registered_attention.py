"""Attention and dropout that return new tensors, as operators of torch: autograd and `torch.compile` follow them.

`attention`, `attention_v2` and `attention_dot` take a block together with its transpose (edge ids in both), because the
gradient to the sources is a walk over the other. Each returns the normalised output [n, H, C], 0 for rows without
entries, and the log-sum-exp [n, H] of its logits, through which no gradient flows. Dropout of the weights is given by
`p`, `dropout_key` and `edge_keys` [E] (None: none), as in `fullgraph.ops.Dropout`.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fullgraph.ops import attention as additive
from fullgraph.ops import attention_dot as dot
from fullgraph.ops import attention_v2 as v2
from fullgraph.ops import masking
from fullgraph.ops.keep import Dropout
from fullgraph.ops.operators import DROPOUT_SCHEMA, dispatched

BLOCK_SCHEMA = "Tensor indptr, Tensor indices, Tensor edge_ids, Tensor indptr_t, Tensor indices_t, Tensor edge_ids_t"
Keywords = dict[str, Any]


def _softmax_sum(num_rows: int, like: Tensor, absorb: Callable[..., None]) -> tuple[Tensor, Tensor]:
    total = like.new_zeros(num_rows, like.size(1))
    maximum, acc = torch.full_like(total, -torch.inf), like.new_zeros(num_rows, *like.shape[1:])
    absorb(maximum, total, acc)
    empty = total == 0
    total.masked_fill_(empty, 1)
    return acc.div_(total.unsqueeze(2)), maximum.masked_fill_(empty, 0).add_(total.log())


def _keywords(bias: Tensor | None, p: float, key: int, edge_keys: Tensor | None, **number: float) -> Keywords:
    return {
        **number,
        "bias": bias,
        "dropout": None if edge_keys is None else Dropout(p=p, key=key, edge_keys=edge_keys),
    }


def _attention(*given: Any) -> tuple[Tensor, Tensor]:
    (indptr, indices, ids, *_), (x, src, dst, bias, slope), drop = given[:6], given[6:11], given[11:]
    options = _keywords(bias, *drop, negative_slope=slope)
    forward = additive.attention_forward
    return _softmax_sum(
        dst.size(0), x, lambda *state: forward(indptr, indices, x, src, dst, *state, edge_ids=ids, **options)
    )


def _attention_v2(*given: Any) -> tuple[Tensor, Tensor]:
    (indptr, indices, ids, *_), (src, dst, att, bias, slope), drop = given[:6], given[6:11], given[11:]
    options = _keywords(bias, *drop, negative_slope=slope)
    forward = v2.attention_v2_forward
    return _softmax_sum(
        dst.size(0), dst, lambda *state: forward(indptr, indices, src, dst, att, *state, edge_ids=ids, **options)
    )


def _attention_dot(*given: Any) -> tuple[Tensor, Tensor]:
    (indptr, indices, ids, *_), (query, key, value, bias, scale), drop = given[:6], given[6:11], given[11:]
    options = _keywords(bias, *drop, scale=scale)
    forward = dot.attention_dot_forward
    return _softmax_sum(
        query.size(0),
        query,
        lambda *state: forward(indptr, indices, query, key, value, *state, edge_ids=ids, **options),
    )


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs[:10], inputs[13], *output)
    ctx.number, ctx.drop = inputs[10], inputs[11:13]
    ctx.mark_non_differentiable(output[1])


def _outcome(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    """The block, its transpose, the three inputs, (log-sum-exp, grad, delta), the options and the bias' gradient."""
    *saved, edge_keys, out, logsumexp = ctx.saved_tensors
    block, inputs, bias = saved[:6], saved[6:9], saved[9]
    grad = grad.contiguous()
    told = (logsumexp, grad, (grad * out).sum(2))
    p, key = ctx.drop
    options = _keywords(bias, p, key, edge_keys)
    return block[:3], block[3:], inputs, told, options, None if bias is None else torch.zeros_like(bias)


def _attention_backward(ctx: Any, grad: Tensor, _: Any) -> tuple[Any, ...]:
    _, (ip_t, ix_t, ids_t), inputs, told, options, grad_bias = _outcome(ctx, grad)
    options["negative_slope"] = ctx.number
    grads = [torch.zeros_like(tensor) for tensor in inputs]
    dispatched(additive.attention_backward)(
        ip_t, ix_t, *inputs, *told, *grads, edge_ids=ids_t, grad_bias=grad_bias, **options
    )
    return *[None] * 6, *grads, grad_bias, None, None, None, None


def _attention_v2_backward(ctx: Any, grad: Tensor, _: Any) -> tuple[Any, ...]:
    (ip, ix, ids), (ip_t, ix_t, ids_t), inputs, told, options, grad_bias = _outcome(ctx, grad)
    options["negative_slope"] = ctx.number
    grads = [torch.zeros_like(tensor) for tensor in inputs]
    dispatched(v2.attention_v2_backward_src)(ip_t, ix_t, *inputs, *told, grads[0], edge_ids=ids_t, **options)
    dispatched(v2.attention_v2_backward_dst)(
        ip, ix, *inputs, *told, *grads[1:], edge_ids=ids, grad_bias=grad_bias, **options
    )
    return *[None] * 6, *grads, grad_bias, None, None, None, None


def _attention_dot_backward(ctx: Any, grad: Tensor, _: Any) -> tuple[Any, ...]:
    (ip, ix, ids), (ip_t, ix_t, ids_t), inputs, told, options, grad_bias = _outcome(ctx, grad)
    options["scale"] = ctx.number
    query, key, value = inputs
    grads = [torch.zeros_like(tensor) for tensor in inputs]
    dispatched(dot.attention_dot_backward_src)(
        ip_t, ix_t, key, value, query, *told, *grads[1:], edge_ids=ids_t, **options
    )
    dispatched(dot.attention_dot_backward_dst)(
        ip, ix, key, value, query, *told, grads[0], edge_ids=ids, grad_bias=grad_bias, **options
    )
    return *[None] * 6, *grads, grad_bias, None, None, None, None


def _register(
    name: str, inputs: str, destination: int, forward: Callable[..., Any], backward: Callable[..., Any]
) -> Any:
    schema = f"({BLOCK_SCHEMA}, {inputs}, {DROPOUT_SCHEMA}) -> (Tensor, Tensor)"
    registered = torch.library.custom_op(f"fullgraph::{name}", forward, mutates_args=(), schema=schema)

    def fake(*given: Any) -> tuple[Tensor, Tensor]:
        rows, heads_channels = given[destination].size(0), given[6].shape[1:]
        return given[6].new_empty(rows, *heads_channels), given[6].new_empty(rows, heads_channels[0])

    registered.register_fake(fake)
    registered.register_autograd(backward, setup_context=_keep)
    return registered


attention = _register(
    "attention",
    "Tensor x, Tensor score_src, Tensor score_dst, Tensor? bias, float negative_slope",
    8,
    _attention,
    _attention_backward,
)
attention_v2 = _register(
    "attention_v2",
    "Tensor x_src, Tensor x_dst, Tensor att, Tensor? bias, float negative_slope",
    7,
    _attention_v2,
    _attention_v2_backward,
)
attention_dot = _register(
    "attention_dot",
    "Tensor query, Tensor key, Tensor value, Tensor? bias, float scale",
    6,
    _attention_dot,
    _attention_dot_backward,
)


@torch.library.custom_op("fullgraph::dropout", mutates_args=())
def dropout(x: Tensor, p: float, key: int, row_ids: Tensor) -> Tensor:
    """x * keep / (1 - p) for x [n, F]; its own adjoint."""
    return masking.dropout(x, p, key, row_ids)


@dropout.register_fake
def _(x: Tensor, p: float, key: int, row_ids: Tensor) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def _keep_dropout(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.p, ctx.key = inputs[1:3]
    ctx.save_for_backward(inputs[3])


def _dropout_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    return dropout(grad, ctx.p, ctx.key, ctx.saved_tensors[0]), None, None, None


dropout.register_autograd(_dropout_backward, setup_context=_keep_dropout)
