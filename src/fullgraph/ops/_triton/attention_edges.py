"""What the kernels of all three attentions share: what belongs to some edges at a time, and how these are scored.

``KIND`` is one of ``additive``, ``both ends`` and ``dot`` (`fullgraph.ops.attention_gat`, ``attention_gatv2``,
``attention_dot``), and ``parameter`` the slope of the leaky ReLU, or the scale of the product.
"""

import triton
import triton.language as tl

from fullgraph.ops._triton.hash import keeps

UNSPECIALIZED = ("num_rows", "key", "threshold", "num_uncut")
"""Numbers that differ from block to block or epoch to epoch: no kernel is compiled for one of them."""


@triton.jit
def of_heads(tensor, rows, is_row, head, heads, ACC: tl.constexpr):
    """``[EDGES, HEADS]`` of a tensor ``[n, heads]``."""
    is_there = is_row[:, None] & (head < heads)[None, :]
    return tl.load(tensor + rows[:, None] * heads + head[None, :], mask=is_there, other=0).to(ACC)


@triton.jit
def of_channels(tensor, rows, is_row, columns, is_column, width, ACC: tl.constexpr):
    """``[EDGES, HEADS, CHANNELS]`` of a tensor ``[n, heads, channels]``."""
    is_there = is_row[:, None, None] & is_column[None, :, :]
    return tl.load(tensor + (rows * width)[:, None, None] + columns[None, :, :], mask=is_there, other=0).to(ACC)


@triton.jit
def scores(KIND: tl.constexpr, own, other, att, bias, parameter):
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
def bias_of(bias, ids, is_edge, head, heads, ACC: tl.constexpr):
    if bias is not None:
        return of_heads(bias, ids, is_edge, head, heads, ACC)
    else:
        return 0.0


@triton.jit
def after_dropout(weight, edge_keys, ids, is_edge, head, key, threshold, keep_scale):
    """Weights ``[EDGES, HEADS]`` after dropout."""
    if edge_keys is not None:
        keys = tl.load(edge_keys + ids, mask=is_edge, other=0)
        is_kept = keeps(key, keys[:, None], head[None, :], threshold)
        return tl.where(is_kept, weight * keep_scale, 0)
    else:
        return weight
