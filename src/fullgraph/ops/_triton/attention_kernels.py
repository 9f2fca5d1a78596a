"""The kernels of all three attentions, which differ in how an edge is scored: forward, and backward to both ends.

A program takes some heads of a row. What is per edge lives in registers only; ``KIND`` is one of
``additive``, ``both ends`` and ``dot`` (`fullgraph.ops.attention_gat`, ``attention_gatv2``, ``attention_dot``), and
``parameter`` the slope of the leaky ReLU, or the scale of the product.
"""

import triton
import triton.language as tl

from fullgraph.ops._triton.hash import keeps
from fullgraph.ops._triton.rows import entries

UNSPECIALIZED = ("num_rows", "key", "threshold", "num_uncut")
"""Numbers that differ from block to block or epoch to epoch: no kernel is compiled for one of them."""


@triton.jit
def _edges(indices, edge_ids, start, end, EDGES: tl.constexpr):
    """Whether each of some entries is there, its column, and where its values lie."""
    edges = start + tl.arange(0, EDGES)
    is_edge = edges < end
    column = tl.load(indices + edges, mask=is_edge, other=0).to(tl.int64)
    ids = edges
    if edge_ids is not None:
        ids = tl.load(edge_ids + edges, mask=is_edge, other=0).to(tl.int64)
    return is_edge, column, ids


@triton.jit
def _of_heads(tensor, rows, is_row, head, heads, ACC: tl.constexpr):
    """``[EDGES, HEADS]`` of a tensor ``[n, heads]``."""
    is_there = is_row[:, None] & (head < heads)[None, :]
    return tl.load(tensor + rows[:, None] * heads + head[None, :], mask=is_there, other=0).to(ACC)


@triton.jit
def _of_channels(tensor, rows, is_row, columns, is_column, width, ACC: tl.constexpr):
    """``[EDGES, HEADS, CHANNELS]`` of a tensor ``[n, heads, channels]``."""
    is_there = is_row[:, None, None] & is_column[None, :, :]
    return tl.load(tensor + (rows * width)[:, None, None] + columns[None, :, :], mask=is_there, other=0).to(ACC)


@triton.jit
def _scores(KIND: tl.constexpr, own, other, att, bias, parameter):
    """What the score comes from, and the score ``[EDGES, HEADS]``, of edges between a row and others."""
    if KIND == "additive":
        summed = own[None, :] + other + bias
        logit = tl.where(summed > 0, summed, summed * parameter)
    elif KIND == "both ends":
        summed = own[None, :, :] + other
        logit = tl.sum(att[None, :, :] * tl.where(summed > 0, summed, summed * parameter), 2) + bias
    else:
        summed = other
        logit = tl.sum(own[None, :, :] * other, 2) * parameter + bias
    return summed, logit


@triton.jit
def _bias_of(bias, ids, is_edge, head, heads, ACC: tl.constexpr):
    if bias is not None:
        return _of_heads(bias, ids, is_edge, head, heads, ACC)
    else:
        return 0.0


@triton.jit
def _kept(weight, edge_keys, ids, is_edge, head, key, threshold, keep_scale):
    """Weights ``[EDGES, HEADS]`` after dropout."""
    if edge_keys is not None:
        keys = tl.load(edge_keys + ids, mask=is_edge, other=0)
        is_kept = keeps(key, keys[:, None], head[None, :], threshold)
        return tl.where(is_kept, weight * keep_scale, 0)
    else:
        return weight


@triton.jit(do_not_specialize=UNSPECIALIZED)
def forward(
    indptr,
    segments,
    indices,
    edge_ids,
    bias,
    edge_keys,
    source,
    value,
    own,
    att,
    maximum,
    total,
    acc,
    num_rows,
    heads: tl.constexpr,
    channels: tl.constexpr,
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
    """Absorb the sources' ``value`` into a destination's running softmax, or a segment's into an empty one."""
    row, first, end = entries(tl.program_id(0), indptr, segments, num_rows, LIMIT)
    parameter, keep_scale = tl.full((), parameter, ACC), tl.full((), keep_scale, ACC)
    width = heads * channels
    head, channel = tl.program_id(1) * HEADS + tl.arange(0, HEADS), tl.arange(0, CHANNELS)
    is_head, is_column = head < heads, (head < heads)[:, None] & (channel < channels)[None, :]
    columns = head[:, None] * channels + channel[None, :]
    of_row = row * width + columns
    weights = 0.0
    if KIND == "additive":
        mine = tl.load(own + row * heads + head, mask=is_head, other=0).to(ACC)
    else:
        mine = tl.load(own + of_row, mask=is_column, other=0).to(ACC)
    if KIND == "both ends":
        weights = tl.load(att + columns, mask=is_column, other=0).to(ACC)
    place = tl.program_id(0).to(tl.int64)
    by_head, by_column = place * heads + head, place * width + columns
    if segments is not None:
        highest = tl.full((HEADS,), float("-inf"), ACC)
        summed, made = tl.zeros((HEADS,), ACC), tl.zeros((HEADS, CHANNELS), ACC)
    else:
        highest = tl.load(maximum + by_head, mask=is_head, other=float("-inf")).to(ACC)
        summed = tl.load(total + by_head, mask=is_head, other=0).to(ACC)
        made = tl.load(acc + by_column, mask=is_column, other=0).to(ACC)
    for start in range(first, end, EDGES):
        is_edge, column, ids = _edges(indices, edge_ids, start, end, EDGES)
        rows = _of_channels(value, column, is_edge, columns, is_column, width, ACC)
        if KIND == "additive":
            other = _of_heads(source, column, is_edge, head, heads, ACC)
        elif KIND == "both ends":
            other = rows
        else:
            other = _of_channels(source, column, is_edge, columns, is_column, width, ACC)
        _, logit = _scores(KIND, mine, other, weights, _bias_of(bias, ids, is_edge, head, heads, ACC), parameter)
        met = tl.maximum(highest, tl.max(tl.where(is_edge[:, None], logit, float("-inf")), 0))
        shrinks = tl.where(met == highest, 1.0, tl.exp(highest - met))
        weight = tl.where(is_edge[:, None], tl.exp(logit - met[None, :]), 0)
        summed = summed * shrinks + tl.sum(weight, 0)
        kept = _kept(weight, edge_keys, ids, is_edge, head, key, threshold, keep_scale)
        made = made * shrinks[:, None] + tl.sum(kept[:, :, None] * rows, 0)
        highest = met
    tl.store(maximum + by_head, highest, mask=is_head)
    tl.store(total + by_head, summed, mask=is_head)
    tl.store(acc + by_column, made, mask=is_column)


@triton.jit
def absorb_segments(
    of_rows,
    maxima,
    totals,
    accs,
    maximum,
    total,
    acc,
    heads: tl.constexpr,
    channels: tl.constexpr,
    AT_ONCE: tl.constexpr,
    HEADS: tl.constexpr,
    CHANNELS: tl.constexpr,
    ACC: tl.constexpr,
):
    """Absorb the segments of a long row into its running softmax, in order."""
    place = of_rows + 3 * tl.program_id(0)
    row, start, stop = tl.load(place), tl.load(place + 1), tl.load(place + 2)
    width = heads * channels
    head, channel = tl.program_id(1) * HEADS + tl.arange(0, HEADS), tl.arange(0, CHANNELS)
    is_head, is_column = head < heads, (head < heads)[:, None] & (channel < channels)[None, :]
    columns = head[:, None] * channels + channel[None, :]
    by_head, by_column = row * heads + head, row * width + columns
    highest = tl.load(maximum + by_head, mask=is_head, other=float("-inf"))
    summed = tl.load(total + by_head, mask=is_head, other=0)
    made = tl.load(acc + by_column, mask=is_column, other=0)
    for first in range(start, stop, AT_ONCE):
        nth = first + tl.arange(0, AT_ONCE)
        is_there = nth < stop
        places = nth[:, None] * heads + head[None, :]
        is_one = is_there[:, None] & is_head[None, :]
        maxima_ = tl.load(maxima + places, mask=is_one, other=float("-inf"))
        met = tl.maximum(highest, tl.max(maxima_, 0))
        shrinks = tl.where(met == highest, 1.0, tl.exp(highest - met))
        share = tl.where(maxima_ == met[None, :], 1.0, tl.exp(maxima_ - met[None, :]))
        share = tl.where(is_one, share, 0)
        summed = summed * shrinks + tl.sum(share * tl.load(totals + places, mask=is_one, other=0), 0)
        rows = _of_channels(accs, nth, is_there, columns, is_column, width, ACC)
        made = made * shrinks[:, None] + tl.sum(share[:, :, None] * rows, 0)
        highest = met
    tl.store(maximum + by_head, highest, mask=is_head)
    tl.store(total + by_head, summed, mask=is_head)
    tl.store(acc + by_column, made, mask=is_column)


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
        is_edge, column, ids = _edges(indices, edge_ids, start, end, EDGES)
        if KIND == "additive":
            theirs = _of_heads(other, column, is_edge, head, heads, ACC)
        else:
            theirs = _of_channels(other, column, is_edge, columns, is_column, width, ACC)
        given = _of_channels(grad, column, is_edge, of_grad, is_column, grad_heads * channels, ACC)
        summed, logit = _scores(KIND, mine, theirs, weights, _bias_of(bias, ids, is_edge, head, heads, ACC), parameter)
        weight = tl.exp(logit - _of_heads(logsumexp, column, is_edge, head, heads, ACC))
        weight = tl.where(is_edge[:, None], weight, 0)
        kept = _kept(weight, edge_keys, ids, is_edge, head, key, threshold, keep_scale)
        d = kept * tl.sum(given * message[None, :, :], 2) - weight * _of_heads(delta, column, is_edge, head, heads, ACC)
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
            is_edge, column, ids = _edges(indices, edge_ids, start, end, EDGES)
            rows = _of_channels(value, column, is_edge, columns, is_column, width, ACC)
            if KIND == "additive":
                theirs = _of_heads(other, column, is_edge, head, heads, ACC)
            elif KIND == "both ends":
                theirs = rows
            else:
                theirs = _of_channels(other, column, is_edge, columns, is_column, width, ACC)
            added = _bias_of(bias, ids, is_edge, head, heads, ACC)
            summed, logit = _scores(KIND, mine, theirs, weights, added, parameter)
            weight = tl.where(is_edge[:, None], tl.exp(logit - bound[None, :]), 0)
            kept = _kept(weight, edge_keys, ids, is_edge, head, key, threshold, keep_scale)
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
