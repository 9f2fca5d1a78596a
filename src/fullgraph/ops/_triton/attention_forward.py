"""The forward kernel of all three attentions: the running softmax of a row's entries, or of a segment's.

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
        is_edge, column, ids = some_edges(indices, edge_ids, start, end, EDGES)
        rows = of_channels(value, column, is_edge, columns, is_column, width, ACC)
        if KIND == "additive":
            other = of_heads(source, column, is_edge, head, heads, ACC)
        elif KIND == "both ends":
            other = rows
        else:
            other = of_channels(source, column, is_edge, columns, is_column, width, ACC)
        _, logit = scores(KIND, mine, other, weights, bias_of(bias, ids, is_edge, head, heads, ACC), parameter)
        met = tl.maximum(highest, tl.max(tl.where(is_edge[:, None], logit, float("-inf")), 0))
        shrinks = tl.where(met == highest, 1.0, tl.exp(highest - met))
        weight = tl.where(is_edge[:, None], tl.exp(logit - met[None, :]), 0)
        summed = summed * shrinks + tl.sum(weight, 0)
        kept = after_dropout(weight, edge_keys, ids, is_edge, head, key, threshold, keep_scale)
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
        rows = of_channels(accs, nth, is_there, columns, is_column, width, ACC)
        made = made * shrinks[:, None] + tl.sum(share[:, :, None] * rows, 0)
        highest = met
    tl.store(maximum + by_head, highest, mask=is_head)
    tl.store(total + by_head, summed, mask=is_head)
    tl.store(acc + by_column, made, mask=is_column)
