"""Compiles the kernels for GPUs to a card's own code, without a card: ``python -m tests.ops.compile_kernels bfloat16``.

Triton's interpreter, which tests use there, runs what its compiler refuses. A driver that knows the card's name and
nothing else is enough to compile for it, and no kernel is launched. In a process of its own, since PyG imports Triton
and the interpreter is chosen then.
"""

import sys
from types import SimpleNamespace
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime.jit import JITFunction

from fullgraph import ops
from fullgraph.ops import gpu
from fullgraph.ops._triton import rows
from tests.ops.attention_problems import SCORES
from tests.ops.blocks import block_of

H100 = GPUTarget("cuda", 90, 32)
HUB = [2, 150, 0, 45]
"""Degrees, of which two are cut into segments, so that the kernels for these are compiled too."""
LIMIT = 32


def only_compile() -> set[str]:
    """From now on kernels are compiled in place of being launched; the names of those that were."""
    compiled, run = set(), JITFunction.run

    def compile_it(kernel: Any, *args: Any, grid: Any, warmup: bool, **given: Any) -> None:
        binary = run(kernel, *args, grid=grid, warmup=True, **given)
        assert binary.asm["cubin"]
        compiled.add(kernel.fn.__name__)

    driver = SimpleNamespace(
        get_current_target=lambda: H100,
        get_current_device=lambda: 0,
        get_current_stream=lambda device: 0,
        get_active_torch_device=lambda: torch.device("cpu"),
    )
    triton.runtime.driver.set_active(driver)
    JITFunction.run = compile_it
    gpu.runs = lambda tensor: True
    rows.LIMIT = LIMIT
    return compiled


def call_sums(dtype: torch.dtype) -> None:
    block = block_of(HUB, 9, 1, named=True)
    values, heads = block.values(dtype), 2
    x, out = values(block.num_columns, 70), values(block.num_rows, 70)
    weight, per_edge = values(block.num_edges, heads).to(ops.accumulator(dtype)), values(block.num_edges, heads)
    ops.spmm(*block.csr(), x, out, edge_ids=block.edge_ids, overwrites=True)
    ops.spmm(*block.csr(), x, out, weight=weight, edge_ids=block.edge_ids)
    ops.sddmm(*block.csr(), out, x, per_edge, edge_ids=block.edge_ids)
    count, back = torch.zeros_like(out, dtype=torch.int32), block.transposed()
    ops.extremum(*block.csr(), x, out, count, largest=True)
    ops.extremum(*block.csr(), x, out, count, largest=False)
    ops.extremum_backward(*back.csr(), x, out, out, x)


def call_norms(dtype: torch.dtype) -> None:
    values = block_of(HUB, 9, 1, named=True).values(dtype)
    grad, x, columns = values(50, 70), values(50, 70), values(4, 70).to(ops.accumulator(dtype))
    ops.squared_deviations(x, columns[0])
    ops.gradient_sums(grad, x, columns[0])
    ops.scaled_deviations(x, *columns[:3])
    ops.combined_gradient(grad, x, *columns)
    ops.positive_gradient(grad, x, *columns[:3])
    ops.dropout(x, 0.5, 7, values.keys(50))
    for heads in (1, 2):
        ops.head_dots(values(50, heads, 5), values(50, 2, 5))


def call_attention(dtype: torch.dtype, *, bias: bool, p: float) -> None:
    for score in SCORES:
        score(block_of(HUB, 9, 1, named=True), 2, 33, dtype, bias=bias, p=p, averages=bool(p)).backward(ops)


if __name__ == "__main__":
    compiled, dtype = only_compile(), getattr(torch, sys.argv[1])
    call_sums(dtype)
    call_norms(dtype)
    if dtype == torch.bfloat16:  # beside float32 scores, biases and gradients
        call_attention(dtype, bias=True, p=0.5)
    print(*sorted(compiled))
