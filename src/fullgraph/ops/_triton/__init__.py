"""The kernels for GPUs, in Triton: a function for each op, of its name, that takes what the op takes.

What they compute is what the twins compute, which define it. A program takes a row, or a segment of a long one
(`rows`); numbers of the size of the edges are held in registers only. Imported only where rows lie on a GPU.
"""

from fullgraph.ops._triton.attention import (
    attention_backward,
    attention_dot_backward_dst,
    attention_dot_backward_src,
    attention_dot_forward,
    attention_forward,
    attention_v2_backward_dst,
    attention_v2_backward_src,
    attention_v2_forward,
)
from fullgraph.ops._triton.extrema import extremum, extremum_backward
from fullgraph.ops._triton.hash import dropout
from fullgraph.ops._triton.norms import (
    combined_gradient,
    gradient_sums,
    head_dots,
    positive_gradient,
    scaled_deviations,
    squared_deviations,
)
from fullgraph.ops._triton.sums import sddmm, spmm

__all__ = [
    "attention_backward",
    "attention_dot_backward_dst",
    "attention_dot_backward_src",
    "attention_dot_forward",
    "attention_forward",
    "attention_v2_backward_dst",
    "attention_v2_backward_src",
    "attention_v2_forward",
    "combined_gradient",
    "dropout",
    "extremum",
    "extremum_backward",
    "gradient_sums",
    "head_dots",
    "positive_gradient",
    "scaled_deviations",
    "sddmm",
    "spmm",
    "squared_deviations",
]
