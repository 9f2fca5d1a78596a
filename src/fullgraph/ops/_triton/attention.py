"""The three attentions over a block: what their kernels are given of an op's arguments, which come by name."""

from functools import partial
from typing import Any

import torch
import triton
from torch import Tensor

from fullgraph.ops._triton.attention_backward import backward_dst, backward_src
from fullgraph.ops._triton.attention_forward import absorb_segments, forward
from fullgraph.ops._triton.heads import Heads
from fullgraph.ops._triton.rows import Segments, reduce_rows, segments_of, sum_rows
from fullgraph.ops.dtypes import accumulator
from fullgraph.ops.keep import Dropout, keep_scale, threshold

_NAMES = {
    "additive": ("score_src", "x", "score_dst", "att", "negative_slope"),
    "both ends": ("source", "x_src", "x_dst", "att", "negative_slope"),
    "dot": ("key", "value", "query", "att", "scale"),
}
"""What an op calls a source's tensor in the score and its message, a destination's tensor, the layer's, and the number
of the score; a gradient is called after its tensor. An op may have no such tensor."""
EDGES_AT_ONCE = 16
BYTES_AT_ONCE = {"additive": 256, "both ends": 128, "dot": 128}
"""Of a row that a program takes: scores of channels need more registers."""
ROWS_AT_ONCE = 32
"""Rows of one program where it sums what all rows share."""


def _forward(kind: str, *, indptr: Tensor, indices: Tensor, **given: Any) -> None:
    source, value, own, att = _tensors(kind, given)
    shape = Heads(*value.shape[1:], value.dtype, BYTES_AT_ONCE[kind])
    state = (given["maximum"], given["total"], given["acc"])

    def combine(segments: Segments, parts: Any) -> None:
        how = shape.constants(EDGES_AT_ONCE)
        how["AT_ONCE"] = how.pop("EDGES")
        absorb_segments[(len(segments.of_rows), shape.num_groups)](segments.of_rows, *parts, *state, **how)

    per_edge, numbers = _of_edges(kind, given)
    how = {**numbers, **shape.constants(EDGES_AT_ONCE)}
    tensors = (indices, *per_edge, source, value, own, att)
    reduce_rows(forward, indptr, shape.num_groups, tensors, state, combine, **how)


def _to_src(kind: str, *, indptr: Tensor, indices: Tensor, **given: Any) -> None:
    source, value, own, att = _tensors(kind, given)
    grad_source, grad_value, *_ = _tensors(kind, given, "grad_")
    shape = Heads(*value.shape[1:], value.dtype, BYTES_AT_ONCE[kind])
    per_edge, numbers = _of_edges(kind, given)
    how = {"grad_heads": given["grad"].size(1), **numbers, **shape.constants(EDGES_AT_ONCE)}
    tensors = (indices, *per_edge, source, value, own, att, given["logsumexp"], given["grad"], given["delta"])
    sum_rows(backward_src, indptr, shape.num_groups, tensors, [grad_source, grad_value], **how)


def _to_dst(kind: str, *, indptr: Tensor, indices: Tensor, **given: Any) -> None:
    source, value, own, att = _tensors(kind, given)
    _, _, grad_own, grad_att = _tensors(kind, given, "grad_")
    shape = Heads(*value.shape[1:], value.dtype, BYTES_AT_ONCE[kind])
    per_edge, numbers = _of_edges(kind, given)
    how = {"grad_heads": given["grad"].size(1), "ROWS": 1, "num_uncut": 0}
    att_parts = None
    if grad_att is not None:  # which all rows share: each program sums its own share of it
        segments, num_uncut = segments_of(indptr), triton.cdiv(len(indptr) - 1, ROWS_AT_ONCE)
        how |= {"ROWS": ROWS_AT_ONCE, "num_uncut": num_uncut}
        num_programs = num_uncut + (0 if segments is None else len(segments.of_segments))
        att_parts = torch.empty((num_programs, *att.shape), dtype=accumulator(value.dtype), device=value.device)
    tensors = (indices, *per_edge, own, value, source, att, given["logsumexp"], given["grad"], given["delta"])
    tensors += (given["grad_bias"], att_parts)
    how |= {**numbers, **shape.constants(EDGES_AT_ONCE)}
    sum_rows(backward_dst, indptr, shape.num_groups, tensors, [grad_own], **how)
    if att_parts is not None:
        grad_att += att_parts.sum(0)


attention_forward = partial(_forward, "additive")
attention_v2_forward = partial(_forward, "both ends")
attention_dot_forward = partial(_forward, "dot")
attention_v2_backward_src = partial(_to_src, "both ends")
attention_v2_backward_dst = partial(_to_dst, "both ends")
attention_dot_backward_src = partial(_to_src, "dot")
attention_dot_backward_dst = partial(_to_dst, "dot")


def attention_backward(*, by_column: tuple[Tensor, Tensor, Tensor | None], **given: Any) -> None:
    _to_src("additive", **given)
    _to_dst("additive", **given | dict(zip(("indptr", "indices", "edge_ids"), by_column, strict=True)))


def _tensors(kind: str, given: dict[str, Any], prefix: str = "") -> tuple[Any, ...]:
    """A source's in the score and its message, a destination's and the layer's; or their gradients."""
    return tuple(given.get(prefix + name) for name in _NAMES[kind][:4])


def _of_edges(kind: str, given: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Ids, bias and dropout's keys, and a kernel's numbers by name."""
    dropout: Dropout | None = given["dropout"]
    p = 0.0 if dropout is None else dropout.p
    numbers = {
        "KIND": kind,
        "parameter": given[_NAMES[kind][4]],
        "key": 0 if dropout is None else dropout.key,
        "threshold": threshold(p),
        "keep_scale": keep_scale(p),
    }
    return (given["edge_ids"], given["bias"], None if dropout is None else dropout.edge_keys), numbers
