"""Products of rows and a matrix, forward and backward, beside torch's own."""

from functools import partial

import torch
import torch.nn.functional as F

from fullgraph import ops
from fullgraph.bench.case import Findings, case
from fullgraph.bench.contest import compared, ms

COLUMNS = ("from", "to", "product", "fullgraph, ms", "torch, ms", "fullgraph, GFLOP/s", "ratio", "largest error")
WIDTHS = ((100, 256), (256, 256), (256, 47), (128, 188))
TOLERANCE = 1e-5


@case("Products beside torch's own")
def run(found: Findings) -> None:
    """The three products of a linear layer in float32, {num_rows:,} rows: forward, the gradient of the rows, and the
    gradient of the matrix. Median of {repeats} interleaved runs on {threads} threads: `fullgraph.ops.product` and
    `outer_sum`, which torch gives to oneDNN, beside `F.linear` and `@`, which it gives to its BLAS. The widths are
    those of layers in `results/train.md`. Each result is compared with float64's; the error is over the largest number
    of that.
    """
    num_rows, repeats = (300, 2) if found.quick else (25_000, 21)
    found.facts.update(num_rows=num_rows, repeats=repeats, threads=torch.get_num_threads())
    table = found.table("The products of a linear layer")
    worst, ratios = 0.0, []
    for width_in, width_out in WIDTHS:
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(num_rows, width_in, generator=generator)
        grad = torch.randn(num_rows, width_out, generator=generator)
        matrix = torch.randn(width_out, width_in, generator=generator)
        for name, ours, others, operands in (
            ("forward", ops.product, F.linear, (x, matrix)),
            ("gradient of the rows", lambda g, m: ops.product(g, m.T), lambda g, m: g @ m, (grad, matrix)),
            ("gradient of the matrix", ops.outer_sum, lambda g, x: g.T @ x, (grad, x)),
        ):
            expected = others(*(operand.double() for operand in operands))
            contenders = {"fullgraph": partial(ours, *operands), "torch": partial(others, *operands)}
            errors, seconds = compared(contenders, expected, repeats)
            own, other, error = *seconds.values(), max(errors.values())
            worst = max(worst, error)
            ratios.append(other / own)
            speed = f"{2e-9 * num_rows * width_in * width_out / own:.0f}"
            cells = (width_in, width_out, name, ms(own), ms(other), speed, f"{other / own:.2f}", f"{error:.1e}")
            table.add(zip(COLUMNS, cells, strict=True))
    found.verdict(worst <= TOLERANCE, f"every product differs from float64's by at most {worst:.1e}")
    found.demand(min(ratios) >= 1, f"never slower than torch's own: {min(ratios):.2f} at least")
