"""Every build of a kernel gives what its twin gives: one machine runs them all, narrower ones in own processes."""

import os
import subprocess
import sys

import torch

from fullgraph import ops
from fullgraph.ops import native
from tests.ops import twins
from tests.ops.attention_problems import SCORES
from tests.ops.blocks import block_of
from tests.ops.laws import assert_close, num_threads

DEGREES = [0, 1, 2, 3, 17, 31, 32, 33, 64, 100, 5]
WIDTHS = [*range(1, 20), 31, 32, 33, 47, 64, 100, 127, 128, 130, 256, 300]
CHANNELS = [1, 3, 4, 5, 8, 9, 16, 17, 32, 33, 64, 70]


def test_narrower_builds_equal_their_twins() -> None:
    """Side by side, since most of their time is the start of Python."""
    started = []
    for register_bytes in (16, 32):
        code = f"from tests.ops.test_targets import check; check({min(register_bytes, native.core.register_bytes())})"
        environment = {**os.environ, "FULLGRAPH_REGISTER_BYTES": str(register_bytes)}
        started.append(subprocess.Popen([sys.executable, "-c", code], env=environment))
    assert [process.wait() for process in started] == [0, 0]


def test_the_build_of_this_machine_equals_its_twin() -> None:
    check(native.core.register_bytes())


@num_threads(1)  # on blocks so small several would wait for each other most of the time
def check(register_bytes: int) -> None:
    """In a process with registers so wide: they are used, and sums and attentions are right."""
    assert native.core.register_bytes() == register_bytes
    block = block_of(DEGREES, 40, 0, named=True)
    for width in WIDTHS:
        for dtype in (torch.float32, torch.bfloat16):
            x, weight = block.values()(40, width).to(dtype), block.values()(block.num_edges, 1).to(dtype)
            for options in ({}, {"weight": weight, "edge_ids": block.edge_ids}):
                got, want = torch.zeros(len(DEGREES), width), torch.zeros(len(DEGREES), width)
                ops.spmm(*block.csr(), x, got, **options)
                twins.spmm(*block.csr(), x, want, **options)
                torch.testing.assert_close(got, want, rtol=2e-5, atol=2e-5)
    for score in SCORES:
        for channels in CHANNELS:
            problem = score(block, 5, channels, torch.float32, bias=True, p=0.5)
            assert_close(problem.forward(ops), problem.forward(twins))
            for got, want in zip(problem.backward(ops), problem.backward(twins), strict=True):
                torch.testing.assert_close(got, want, rtol=0, atol=2e-5 * (1 + float(want.abs().max())))
