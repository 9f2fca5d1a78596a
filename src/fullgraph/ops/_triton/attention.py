"""The three attentions over a block: what their kernels are given."""

from typing import Any

import torch
import triton
from torch import Tensor

from fullgraph.ops._triton import attention_kernels as kernels
from fullgraph.ops._triton.heads import Heads
from fullgraph.ops._triton.rows import Segments, reduce_rows, segments_of, sum_rows
from fullgraph.ops.keep import Dropout, keep_scale, threshold

EDGES_AT_ONCE = 16
BYTES_AT_ONCE = {"additive": 256, "both ends": 128, "dot": 128}
"""Of a row that a program takes: scores of channels need more registers."""
ROWS_AT_ONCE = 32
"""Rows of one program where it sums what all rows share."""


def attention_forward(
    indptr: Tensor,
    indices: Tensor,
    x: Tensor,
    score_src: Tensor,
    score_dst: Tensor,
    maximum: Tensor,
    total: Tensor,
    acc: Tensor,
    *,
    negative_slope: float,
    **edges: Any,
) -> None:
    given = (score_src, x, score_dst, None)
    _forward("additive", indptr, indices, given, (maximum, total, acc), parameter=negative_slope, **edges)


def attention_v2_forward(
    indptr: Tensor,
    indices: Tensor,
    x_src: Tensor,
    x_dst: Tensor,
    att: Tensor,
    maximum: Tensor,
    total: Tensor,
    acc: Tensor,
    *,
    negative_slope: float,
    **edges: Any,
) -> None:
    given = (None, x_src, x_dst, att)
    _forward("both ends", indptr, indices, given, (maximum, total, acc), parameter=negative_slope, **edges)


def attention_dot_forward(
    indptr: Tensor,
    indices: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    maximum: Tensor,
    total: Tensor,
    acc: Tensor,
    *,
    scale: float,
    **edges: Any,
) -> None:
    _forward("dot", indptr, indices, (key, value, query, None), (maximum, total, acc), parameter=scale, **edges)


def attention_backward(
    indptr: Tensor,
    indices: Tensor,
    x: Tensor,
    score_src: Tensor,
    score_dst: Tensor,
    logsumexp: Tensor,
    grad: Tensor,
    delta: Tensor,
    grad_x: Tensor,
    grad_score_src: Tensor,
    grad_score_dst: Tensor,
    *,
    by_column: tuple[Tensor, Tensor, Tensor | None],
    grad_bias: Tensor | None,
    negative_slope: float,
    **edges: Any,
) -> None:
    outcome, how = (logsumexp, grad, delta), {"parameter": negative_slope, **edges}
    _to_src("additive", indptr, indices, (score_src, x, score_dst, None, *outcome), (grad_score_src, grad_x), **how)
    indptr, indices, how["edge_ids"] = by_column
    given = (score_dst, x, score_src, None, *outcome)
    _to_dst("additive", indptr, indices, given, grad_score_dst, None, grad_bias, **how)


def attention_v2_backward_src(
    indptr: Tensor,
    indices: Tensor,
    x_src: Tensor,
    x_dst: Tensor,
    att: Tensor,
    logsumexp: Tensor,
    grad: Tensor,
    delta: Tensor,
    grad_x_src: Tensor,
    *,
    negative_slope: float,
    **edges: Any,
) -> None:
    given = (None, x_src, x_dst, att, logsumexp, grad, delta)
    _to_src("both ends", indptr, indices, given, (None, grad_x_src), parameter=negative_slope, **edges)


def attention_v2_backward_dst(
    indptr: Tensor,
    indices: Tensor,
    x_src: Tensor,
    x_dst: Tensor,
    att: Tensor,
    logsumexp: Tensor,
    grad: Tensor,
    delta: Tensor,
    grad_x_dst: Tensor,
    grad_att: Tensor,
    *,
    grad_bias: Tensor | None,
    negative_slope: float,
    **edges: Any,
) -> None:
    given, how = (x_dst, x_src, None, att, logsumexp, grad, delta), {"parameter": negative_slope, **edges}
    _to_dst("both ends", indptr, indices, given, grad_x_dst, grad_att, grad_bias, **how)


def attention_dot_backward_src(
    indptr: Tensor,
    indices: Tensor,
    key: Tensor,
    value: Tensor,
    query: Tensor,
    logsumexp: Tensor,
    grad: Tensor,
    delta: Tensor,
    grad_key: Tensor,
    grad_value: Tensor,
    *,
    scale: float,
    **edges: Any,
) -> None:
    given = (key, value, query, None, logsumexp, grad, delta)
    _to_src("dot", indptr, indices, given, (grad_key, grad_value), parameter=scale, **edges)


def attention_dot_backward_dst(
    indptr: Tensor,
    indices: Tensor,
    key: Tensor,
    value: Tensor,
    query: Tensor,
    logsumexp: Tensor,
    grad: Tensor,
    delta: Tensor,
    grad_query: Tensor,
    *,
    grad_bias: Tensor | None,
    scale: float,
    **edges: Any,
) -> None:
    given = (query, value, key, None, logsumexp, grad, delta)
    _to_dst("dot", indptr, indices, given, grad_query, None, grad_bias, parameter=scale, **edges)


def _forward(
    kind: str, indptr: Tensor, indices: Tensor, given: tuple[Any, ...], state: tuple[Tensor, ...], **edges: Any
) -> None:
    value = given[1]
    shape = Heads(*value.shape[1:], value.dtype, BYTES_AT_ONCE[kind])
    per_edge, numbers = _of_edges(edges)

    def combine(segments: Segments, parts: Any) -> None:
        how = shape.constants(EDGES_AT_ONCE)
        how["AT_ONCE"] = how.pop("EDGES")
        grid = (len(segments.of_rows), shape.num_groups)
        kernels.absorb_segments[grid](segments.of_rows, *parts, *state, **how)

    how = {"KIND": kind, **numbers, **shape.constants(EDGES_AT_ONCE)}
    given = (indices, *per_edge, *given)
    reduce_rows(kernels.forward, indptr, shape.num_groups, given, state, combine, **how)


def _to_src(
    kind: str,
    indptr: Tensor,
    indices: Tensor,
    given: tuple[Any, ...],
    grads: tuple[Tensor | None, Tensor],
    **edges: Any,
) -> None:
    value, grad = given[1], given[5]
    shape = Heads(*value.shape[1:], value.dtype, BYTES_AT_ONCE[kind])
    per_edge, numbers = _of_edges(edges)
    how = {"KIND": kind, "grad_heads": grad.size(1), **numbers, **shape.constants(EDGES_AT_ONCE)}
    given = (indices, *per_edge, *given)
    sum_rows(kernels.backward_src, indptr, shape.num_groups, given, grads, **how)


def _to_dst(
    kind: str,
    indptr: Tensor,
    indices: Tensor,
    given: tuple[Any, ...],
    grad_own: Tensor,
    grad_att: Tensor | None,
    grad_bias: Tensor | None,
    **edges: Any,
) -> None:
    value, grad = given[1], given[5]
    shape = Heads(*value.shape[1:], value.dtype, BYTES_AT_ONCE[kind])
    per_edge, numbers = _of_edges(edges)
    how = {"KIND": kind, "grad_heads": grad.size(1), **numbers, **shape.constants(EDGES_AT_ONCE)}
    how |= {"ROWS": 1, "num_uncut": 0}
    att_parts = None
    if grad_att is not None:
        how["ROWS"] = ROWS_AT_ONCE
        segments = segments_of(indptr)
        num_cut = 0 if segments is None else len(segments.of_segments)
        how["num_uncut"] = num_uncut = triton.cdiv(len(indptr) - 1, ROWS_AT_ONCE)
        dtype = torch.float64 if value.dtype == torch.float64 else torch.float32
        att_parts = torch.empty((num_uncut + num_cut, *grad_att.shape), dtype=dtype, device=value.device)
    given = (indices, *per_edge, *given, grad_bias, att_parts)
    sum_rows(kernels.backward_dst, indptr, shape.num_groups, given, [grad_own], **how)
    if grad_att is not None and att_parts is not None:
        grad_att += att_parts.sum(0)


def _of_edges(edges: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Ids, bias and dropout's keys, and a kernel's numbers by name."""
    dropout: Dropout | None = edges["dropout"]
    p = 0.0 if dropout is None else dropout.p
    numbers = {
        "parameter": edges["parameter"],
        "key": 0 if dropout is None else dropout.key,
        "threshold": threshold(p),
        "keep_scale": keep_scale(p),
    }
    keys = None if dropout is None else dropout.edge_keys
    return (edges["edge_ids"], edges["bias"], keys), numbers
