"""Epochs in bfloat16 beside float32's, on a CPU: how much faster, and how much less memory."""

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

import fullgraph as fg
from fullgraph.bench import graphs
from fullgraph.bench.case import Findings, case
from fullgraph.bench.contest import peak_growth
from fullgraph.bench.report import Table, mib
from fullgraph.bench.training import MODELS, step_in
from fullgraph.datasets import load
from fullgraph.train.memory import resident_bytes

WAYS = ("32-true", "bf16-mixed")
TOLERANCE = 2e-2
"""Largest relative difference of losses: of numbers with 8 bits."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """What is trained: the graphs, which models on each, the width of hidden layers, and how many turns are counted."""

    graphs: dict[str, tuple[Callable[[], Any], tuple[str, ...]]]
    hidden: int
    repeats: int


CPU = torch.device("cpu")
FULL = Size(
    graphs={
        "synthetic-large": (lambda: graphs.pyg_data(load("synthetic-large")), ("SAGE", "GCN", "GAT")),
        "products-shaped": (lambda: graphs.products_shaped(*graphs.PRODUCTS, CPU), ("SAGE",)),
    },
    hidden=256,
    repeats=3,
)
QUICK = Size(
    graphs={"products-shaped": (lambda: graphs.products_shaped(500, 5_000, CPU), tuple(MODELS))}, hidden=16, repeats=1
)


@case("Epochs in bfloat16 on a CPU, beside float32", FULL, QUICK)  # pyright: ignore[reportArgumentType]
def run(found: Findings) -> None:
    """One rank on {threads} threads, on a processor {kind}. Three layers of width {hidden} with batch norm, a linear
    layer among them, forward, backward and Adam. `32-true` and `bf16-mixed` (`torch.autocast`) take turns in one
    process: one that does not count, then {repeats}, of which the median is given. *Growth* is the high-water mark of
    resident memory in one more epoch over what was resident before it, which holds the graph, the features and the
    walks; *peak* is both. The products-shaped graph is a power law with the number of nodes and edges of ogbn-products.
    """
    size: Size = found.size
    multiplies = torch.cpu._is_avx512_bf16_supported()
    kind = "that multiplies bfloat16 in hardware" if multiplies else "that does not multiply bfloat16 in hardware"
    found.facts.update(threads=torch.get_num_threads(), kind=kind, hidden=size.hidden, repeats=size.repeats)
    table = found.table("Epochs")
    for label, (graph, models) in size.graphs.items():
        data = fg.open(graph(), fg.init())
        for name in models:
            _beside(found, table, label, name, data, multiplies=multiplies)
            gc.collect()
        del data


def _beside(found: Findings, table: Table, label: str, name: str, data: Any, *, multiplies: bool) -> None:
    steps = {way: step_in(way, MODELS[name], data, found.size.hidden) for way in WAYS}
    losses: dict[str, list[float]] = {way: [] for way in WAYS}
    taken: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(1 + found.size.repeats):
        for way, step in steps.items():
            start = time.perf_counter()
            losses[way].append(step())
            taken[way].append(time.perf_counter() - start)
    growths = {}
    for way, step in steps.items():
        growths[way] = peak_growth(step)
        row = {"graph": label, "model": name, "runs": way, "last loss": f"{losses[way][-1]:.5f}"}
        row["seconds"] = f"{statistics.median(taken[way][1:]):.2f}"
        row["growth, MiB"], row["peak, MiB"] = mib(growths[way]), mib(growths[way] + resident_bytes())
        table.add(row)
    whole, mixed = (statistics.median(taken[way][1:]) for way in WAYS)
    share = growths["bf16-mixed"] / max(1, growths["32-true"])
    of_both = [(losses["bf16-mixed"], losses["32-true"])]
    found.same_losses(f"{name} on {label} has float32's losses", of_both, TOLERANCE)
    least = 2 if name == "SAGE" and multiplies else 1 if multiplies else 0.9
    found.demand(whole / mixed >= least, f"{name} on {label} is ≥ {least} × as fast: {whole / mixed:.2f} ×")
    found.demand(share <= 0.65, f"{name} on {label} takes ≤ 0.65 of the memory: {share:.2f}")
