"""Kernels by name: the sums, extrema, attention, products, norms, dropout and packing of the engine, on any device.

A block is CSR: ``indptr`` int64 [n + 1] over its rows, ``indices`` int32 [nnz] into the columns, and optionally
``edge_ids`` int32 [nnz], the row of an edge array that belongs to each entry (without it, entry e is edge e; an id
occurs once in a block). The values of all three must be in range: no op reads them twice to check.

The ops over blocks add into tensors that the caller gives, so that blocks can be absorbed one after another; rows
without entries stay as they are. float32 and float64 on a CPU run the C++ kernels (spmm, norms, dropout and packing
read bfloat16 too; other rows of 16 bits are copied to float32),
and floats of 16, 32 and 64 bits on a GPU those in Triton (packing excepted); neither holds anything of the size of the
edges. All else runs the naive twin, in plain torch. Results do not depend on the number of threads. No kernel records
anything for autograd: gradients are ops of their own.
"""

from fullgraph.ops.attention_dot import (
    attention_dot_backward_dst,
    attention_dot_backward_src,
    attention_dot_forward,
)
from fullgraph.ops.attention_gat import attention_backward, attention_forward
from fullgraph.ops.attention_gatv2 import attention_v2_backward_dst, attention_v2_backward_src, attention_v2_forward
from fullgraph.ops.dropout import dropout
from fullgraph.ops.dtypes import accumulator
from fullgraph.ops.extrema import extremum, extremum_backward
from fullgraph.ops.gpu import mixes_dtypes
from fullgraph.ops.keep import Dropout
from fullgraph.ops.nonzero import mark_nonzero, num_marks, pack_nonzero, unpack_nonzero
from fullgraph.ops.norms import (
    column_sums,
    combined_gradient,
    gradient_sums,
    head_dots,
    positive_gradient,
    scaled_deviations,
    squared_deviations,
)
from fullgraph.ops.products import add_outer_sum, chooses_blas, outer_sum, product, some_at_a_time
from fullgraph.ops.sums import sddmm, spmm

__all__ = [
    "Dropout",
    "accumulator",
    "add_outer_sum",
    "attention_backward",
    "attention_dot_backward_dst",
    "attention_dot_backward_src",
    "attention_dot_forward",
    "attention_forward",
    "attention_v2_backward_dst",
    "attention_v2_backward_src",
    "attention_v2_forward",
    "chooses_blas",
    "column_sums",
    "combined_gradient",
    "dropout",
    "extremum",
    "extremum_backward",
    "gradient_sums",
    "head_dots",
    "mark_nonzero",
    "mixes_dtypes",
    "num_marks",
    "outer_sum",
    "pack_nonzero",
    "positive_gradient",
    "product",
    "scaled_deviations",
    "sddmm",
    "some_at_a_time",
    "spmm",
    "squared_deviations",
    "unpack_nonzero",
]
