"""Products of rows and a matrix, forward and backward, beside those of both libraries that torch brings."""

from functools import partial

import torch
import torch.nn.functional as F

from fullgraph import ops
from fullgraph.bench.case import Findings, case
from fullgraph.bench.contest import compared, ms
from fullgraph.ops.blas import blas, onednn_product

COLUMNS = ("from", "to", "product", "fullgraph, ms", "torch, ms", "oneDNN, ms", "GFLOP/s", "ratio", "largest error")
WIDTHS = ((100, 256), (256, 256), (256, 47), (128, 188))
TOLERANCE = 1e-5
LEAST = 0.95


@case("Products beside both libraries of torch")
def run(found: Findings) -> None:
    """The three products of a linear layer in float32, {num_rows:,} rows: forward, the gradient of the rows, and the
    gradient of the matrix. Median of {repeats} interleaved runs on {threads} threads: `fullgraph.ops.product` and
    `outer_sum`, which found {chosen} to be faster here, beside `F.linear` and `@`, which torch gives to its BLAS, and
    beside oneDNN. The ratio is that of the better of these two to ours. The widths are those of layers in
    `results/train.md`. Each result is compared with float64's; the error is over the largest number of that.
    """
    num_rows, repeats = (300, 2) if found.quick else (25_000, 21)
    found.facts.update(num_rows=num_rows, repeats=repeats, threads=torch.get_num_threads(), chosen=blas())
    table = found.table("The products of a linear layer")
    worst, ratios = 0.0, []
    for width_in, width_out in WIDTHS:
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(num_rows, width_in, generator=generator)
        grad = torch.randn(num_rows, width_out, generator=generator)
        matrix = torch.randn(width_out, width_in, generator=generator)
        for name, ours, torchs, onednns, operands in (
            ("forward", ops.product, F.linear, onednn_product, (x, matrix)),
            (
                "gradient of the rows",
                lambda g, m: ops.product(g, m.T),
                lambda g, m: g @ m,
                lambda g, m: onednn_product(g, m.T),
                (grad, matrix),
            ),
            (
                "gradient of the matrix",
                ops.outer_sum,
                lambda g, x: g.T @ x,
                lambda g, x: onednn_product(g.T, x.T),
                (grad, x),
            ),
        ):
            expected = torchs(*(operand.double() for operand in operands))
            contenders = {"fullgraph": ours, "torch": torchs, "oneDNN": onednns}
            contenders = {each: partial(product, *operands) for each, product in contenders.items()}
            errors, seconds = compared(contenders, expected, repeats)
            own, *others = seconds.values()
            worst = max(worst, *errors.values())
            ratios.append(min(others) / own)
            speed = f"{2e-9 * num_rows * width_in * width_out / own:.0f}"
            numbers = (*map(ms, (own, *others)), speed, f"{ratios[-1]:.2f}", f"{max(errors.values()):.1e}")
            table.add(zip(COLUMNS, (width_in, width_out, name, *numbers), strict=True))
    found.verdict(worst <= TOLERANCE, f"every product differs from float64's by at most {worst:.1e}")
    found.demand(min(ratios) >= LEAST, f"at least {LEAST} of the better one's speed: {min(ratios):.2f} at least")
