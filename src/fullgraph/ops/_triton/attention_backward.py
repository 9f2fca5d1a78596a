"""The backward kernels of all three attentions, to sources and to destinations, which rebuild each edge's weight.

A program takes some heads of a row. What is per edge lives in registers only.
"""

import triton
import triton.language as tl

from fullgraph.ops._triton.attention_edges import (
    UNSPECIALIZED,
    after_dropout,
    bias_of,
    of_channels,
    of_heads,
    scores,
)
from fullgraph.ops._triton.rows import entries, some_edges


@triton.jit(do_not_specialize=UNSPECIALIZED)
def backward_src(
    indptr,
    segments,
    indices,
    edge_ids,
    bias,
    edge_keys,
    own,
    value,
    other,
    att,
    logsumexp,
    grad,
    delta,
    grad_own,
    grad_value,
    num_rows,
    heads: tl.constexpr,
    channels: tl.constexpr,
    grad_heads: tl.constexpr,
    parameter: "fp64",
    key: "i64",
    threshold: "i64",
    keep_scale: "fp64",
    LIMIT: tl.constexpr,
    KIND: tl.constexpr,
    EDGES: tl.constexpr,
    HEADS: tl.constexpr,
    CHANNELS: tl.constexpr,
    ACC: tl.constexpr,
):
    """Add a source's gradients, as message (``grad_value``) and in the score (``grad_own``, the same where both ends
    have one tensor); columns are destinations."""
    row, first, end = entries(tl.program_id(0), indptr, segments, num_rows, LIMIT)
    parameter, keep_scale = tl.full((), parameter, ACC), tl.full((), keep_scale, ACC)
    width = heads * channels
    head, channel = tl.program_id(1) * HEADS + tl.arange(0, HEADS), tl.arange(0, CHANNELS)
    is_head, is_column = head < heads, (head < heads)[:, None] & (channel < channels)[None, :]
    columns = head[:, None] * channels + channel[None, :]
    of_grad = tl.where(grad_heads == 1, 0, head)[:, None] * channels + channel[None, :]
    of_row = row * width + columns
    message = tl.load(value + of_row, mask=is_column, other=0).to(ACC)
    weights = 0.0
    if KIND == "additive":
        mine = tl.load(own + row * heads + head, mask=is_head, other=0).to(ACC)
        for_own = tl.zeros((HEADS,), ACC)
    elif KIND == "both ends":
        mine, for_own = message, tl.zeros((HEADS, CHANNELS), ACC)
        weights = tl.load(att + columns, mask=is_column, other=0).to(ACC)
    else:
        mine = tl.load(own + of_row, mask=is_column, other=0).to(ACC)
        for_own = tl.zeros((HEADS, CHANNELS), ACC)
    for_value = tl.zeros((HEADS, CHANNELS), ACC)
    for start in range(first, end, EDGES):
        is_edge, column, ids = some_edges(indices, edge_ids, start, end, EDGES)
        if KIND == "additive":
            theirs = of_heads(other, column, is_edge, head, heads, ACC)
        else:
            theirs = of_channels(other, column, is_edge, columns, is_column, width, ACC)
        given = of_channels(grad, column, is_edge, of_grad, is_column, grad_heads * channels, ACC)
        summed, logit = scores(KIND, mine, theirs, weights, bias_of(bias, ids, is_edge, head, heads, ACC), parameter)
        weight = tl.exp(logit - of_heads(logsumexp, column, is_edge, head, heads, ACC))
        weight = tl.where(is_edge[:, None], weight, 0)
        kept = after_dropout(weight, edge_keys, ids, is_edge, head, key, threshold, keep_scale)
        d = kept * tl.sum(given * message[None, :, :], 2) - weight * of_heads(delta, column, is_edge, head, heads, ACC)
        for_value += tl.sum(kept[:, :, None] * given, 0)
        if KIND == "additive":
            for_own += tl.sum(tl.where(summed > 0, d, d * parameter), 0)
        elif KIND == "both ends":
            for_own += tl.sum(tl.where(summed > 0, d[:, :, None], d[:, :, None] * parameter), 0)
        else:
            for_own += tl.sum(d[:, :, None] * theirs, 0)
    place = tl.program_id(0).to(tl.int64)
    by_head, by_column = place * heads + head, place * width + columns
    if KIND == "both ends":
        for_value += for_own * weights
    elif KIND == "dot":
        for_own *= parameter
        if segments is None:
            for_own += tl.load(grad_own + by_column, mask=is_column, other=0).to(ACC)
        tl.store(grad_own + by_column, for_own.to(grad_own.dtype.element_ty), mask=is_column)
    else:
        if segments is None:
            for_own += tl.load(grad_own + by_head, mask=is_head, other=0).to(ACC)
        tl.store(grad_own + by_head, for_own.to(grad_own.dtype.element_ty), mask=is_head)
    if segments is None:
        for_value += tl.load(grad_value + by_column, mask=is_column, other=0).to(ACC)
    tl.store(grad_value + by_column, for_value.to(grad_value.dtype.element_ty), mask=is_column)


@triton.jit(do_not_specialize=UNSPECIALIZED)
def backward_dst(
    indptr,
    segments,
    indices,
    edge_ids,
    bias,
    edge_keys,
    own,
    value,
    other,
    att,
    logsumexp,
    grad,
    delta,
    grad_bias,
    att_parts,
    grad_own,
    num_rows,
    heads: tl.constexpr,
    channels: tl.constexpr,
    grad_heads: tl.constexpr,
    parameter: "fp64",
    key: "i64",
    threshold: "i64",
    keep_scale: "fp64",
    num_uncut,
    LIMIT: tl.constexpr,
    KIND: tl.constexpr,
    ROWS: tl.constexpr,
    EDGES: tl.constexpr,
    HEADS: tl.constexpr,
    CHANNELS: tl.constexpr,
    ACC: tl.constexpr,
):
    """Add the gradients of some destinations (``grad_own``), of biases, and put that of ``att`` in a row of
    ``att_parts``, of which ``num_uncut`` are of programs that are not cut; columns are sources."""
    parameter, keep_scale = tl.full((), parameter, ACC), tl.full((), keep_scale, ACC)
    width = heads * channels
    head, channel = tl.program_id(1) * HEADS + tl.arange(0, HEADS), tl.arange(0, CHANNELS)
    is_head, is_column = head < heads, (head < heads)[:, None] & (channel < channels)[None, :]
    columns = head[:, None] * channels + channel[None, :]
    of_grad = tl.where(grad_heads == 1, 0, head)[:, None] * channels + channel[None, :]
    weights, for_att = 0.0, 0.0
    if KIND == "both ends":
        weights = tl.load(att + columns, mask=is_column, other=0).to(ACC)
        for_att = tl.zeros((HEADS, CHANNELS), ACC)
    for nth in range(ROWS):
        program = tl.program_id(0) * ROWS + nth
        row, first, end = entries(program, indptr, segments, num_rows, LIMIT)
        of_row = row * width + columns
        given = tl.load(grad + row * (grad_heads * channels) + of_grad, mask=is_column, other=0).to(ACC)
        bound = tl.load(logsumexp + row * heads + head, mask=is_head, other=0).to(ACC)
        mean = tl.load(delta + row * heads + head, mask=is_head, other=0).to(ACC)
        if KIND == "additive":
            mine = tl.load(own + row * heads + head, mask=is_head, other=0).to(ACC)
            for_own = tl.zeros((HEADS,), ACC)
        else:
            mine = tl.load(own + of_row, mask=is_column, other=0).to(ACC)
            for_own = tl.zeros((HEADS, CHANNELS), ACC)
        for start in range(first, end, EDGES):
            is_edge, column, ids = some_edges(indices, edge_ids, start, end, EDGES)
            rows = of_channels(value, column, is_edge, columns, is_column, width, ACC)
            if KIND == "additive":
                theirs = of_heads(other, column, is_edge, head, heads, ACC)
            elif KIND == "both ends":
                theirs = rows
            else:
                theirs = of_channels(other, column, is_edge, columns, is_column, width, ACC)
            added = bias_of(bias, ids, is_edge, head, heads, ACC)
            summed, logit = scores(KIND, mine, theirs, weights, added, parameter)
            weight = tl.where(is_edge[:, None], tl.exp(logit - bound[None, :]), 0)
            kept = after_dropout(weight, edge_keys, ids, is_edge, head, key, threshold, keep_scale)
            d = kept * tl.sum(given[None, :, :] * rows, 2) - weight * mean[None, :]
            if KIND == "additive":
                d = tl.where(summed > 0, d, d * parameter)
                for_own += tl.sum(d, 0)
            elif KIND == "both ends":
                flowing = tl.where(summed > 0, d[:, :, None], d[:, :, None] * parameter)
                for_own += tl.sum(flowing, 0)
                for_att += tl.sum(flowing * summed, 0)
            else:
                for_own += tl.sum(d[:, :, None] * theirs, 0)
            if grad_bias is not None:
                places = ids[:, None] * heads + head[None, :]
                is_there = is_edge[:, None] & is_head[None, :]
                before = tl.load(grad_bias + places, mask=is_there, other=0)
                tl.store(grad_bias + places, (before.to(ACC) + d).to(before.dtype), mask=is_there)
        place = program.to(tl.int64)
        if KIND == "additive":
            places, is_there = place * heads + head, is_head
        else:
            places, is_there = place * width + columns, is_column
            for_own *= weights if KIND == "both ends" else parameter
        if segments is None:
            is_there = is_there & (places < num_rows.to(tl.int64) * (heads if KIND == "additive" else width))
            for_own += tl.load(grad_own + places, mask=is_there, other=0).to(ACC)
        tl.store(grad_own + places, for_own.to(grad_own.dtype.element_ty), mask=is_there)
    if KIND == "both ends":
        place = tl.program_id(0).to(tl.int64)
        if segments is not None:
            place += num_uncut
        tl.store(att_parts + place * width + columns, for_att, mask=is_column)
