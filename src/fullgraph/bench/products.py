"""Products of rows and a matrix, forward and backward, beside torch's own."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from fullgraph import ops
from fullgraph.bench.case import Request
from fullgraph.bench.contest import median_seconds, ms
from fullgraph.bench.report import Report, verdict

COLUMNS = ("from", "to", "product", "fullgraph, ms", "torch, ms", "fullgraph, GFLOP/s", "ratio", "largest error")
WIDTHS = ((100, 256), (256, 256), (256, 47), (128, 188))
TOLERANCE = 1e-5

_ABOUT = """\
The three products of a linear layer in float32, {num_rows:,} rows: forward, the gradient of the rows, and the gradient
of the matrix. Median of {repeats} interleaved runs on {threads} threads: `fullgraph.ops.product` and `outer_sum`, which
torch gives to oneDNN, beside `F.linear` and `@`, which it gives to its BLAS. The widths are those of layers in
`results/train.md`. Each result is compared with float64's; the error is over the largest number of that.
"""


def run(request: Request) -> Report:
    """The case ``products``."""
    num_rows, repeats = (300, 2) if request.quick else (25_000, 21)
    table = request.table("The products of a linear layer", COLUMNS)
    worst, ratios = 0.0, []
    for width_in, width_out in WIDTHS:
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(num_rows, width_in, generator=generator)
        grad = torch.randn(num_rows, width_out, generator=generator)
        matrix = torch.randn(width_out, width_in, generator=generator)
        contests: dict[str, tuple[Callable[[], Tensor], Callable[[], Tensor], Tensor]] = {
            "forward": (
                lambda x=x, m=matrix: ops.product(x, m),
                lambda x=x, m=matrix: F.linear(x, m),
                x.double() @ matrix.double().T,
            ),
            "gradient of the rows": (
                lambda g=grad, m=matrix: ops.product(g, m.T),
                lambda g=grad, m=matrix: g @ m,
                grad.double() @ matrix.double(),
            ),
            "gradient of the matrix": (
                lambda g=grad, x=x: ops.outer_sum(g, x),
                lambda g=grad, x=x: g.T @ x,
                grad.double().T @ x.double(),
            ),
        }
        for name, (ours, others, expected) in contests.items():
            error = max(float((work() - expected).abs().max() / expected.abs().max()) for work in (ours, others))
            seconds = median_seconds({"fullgraph": ours, "torch": others}, repeats)
            own, other = seconds.values()
            worst = max(worst, error)
            ratios.append(other / own)
            speed = f"{2e-9 * num_rows * width_in * width_out / own:.0f}"
            table.add(width_in, width_out, name, ms(own), ms(other), speed, f"{other / own:.2f}", f"{error:.1e}")
    verdicts = [verdict(worst <= TOLERANCE, f"every product differs from float64's by at most {worst:.1e}")]
    if not request.quick:
        verdicts.append(verdict(min(ratios) >= 1, f"never slower than torch's own: {min(ratios):.2f} at least"))
    return Report(
        title="Products beside torch's own",
        about=_ABOUT.format(num_rows=num_rows, repeats=repeats, threads=torch.get_num_threads()),
        verdicts=tuple(verdicts),
        tables=(table,),
    )
