"""What rows lose by travelling narrower: accuracy on real graphs over many seeds, beside the bytes that it saves."""

import math
import statistics

from fullgraph.bench.accuracy import NUM_RANKS, mean_std, percent
from fullgraph.bench.case import Findings, Size, case, partitioned
from fullgraph.bench.experiment import Outcome, train_rank
from fullgraph.bench.training import HEADS, train
from fullgraph.comm.launch import launch
from fullgraph.config import WIRE_DTYPES, WireDtype

NOISE = 2.0
"""Standard errors of a difference of two means that count as noise."""

NARROW_HALF = 0.6
"""Most that bfloat16 may send of float32's bytes where rows are wide: half, and the scores, which travel whole."""

MODEL = "GCN"
"""Whose accuracy is measured: of the models of the case `accuracy` the fastest to train, as there are 60 runs."""

FULL = Size(source="synthetic-small", ranks=(NUM_RANKS,), hidden={"SAGE": 256, "GAT": 128}, epochs=3)
QUICK = Size(source="synthetic-tiny", ranks=(NUM_RANKS,), hidden={"SAGE": 256, "GAT": 128}, epochs=2)
"""Of the training whose bytes are measured."""


@case("Rows that travel narrower", FULL, QUICK)
def run(found: Findings) -> None:
    """Accuracy: {model} with the hyperparameters and the stopping rule of the case `accuracy`, {ranks} ranks, {seeds}
    seeds, the public split of each graph. The difference is that of the means; its standard error comes from both
    deviations. Bytes are rows and gradients of rows that the first rank sends in an epoch of training and its
    evaluation. A layer whose rows are fewer than 16 numbers wide, as the second one is here, sends them whole.

    Bytes of wide rows: PyG's own GraphSAGE of hidden width {size.hidden[SAGE]} and GAT of {heads} heads,
    {size.hidden[GAT]} columns together, 3 layers, batch norm, {size.epochs} epochs on {ranks} ranks. Graph: {label},
    {nodes:,} nodes, {edges:,} edges, {features} features, {classes} classes, cut once by METIS into {parts} parts.
    """
    sources = ("digits",) if found.quick else ("cora", "citeseer")
    seeds, max_epochs = (range(2), 3) if found.quick else (range(10), None)
    found.facts.update(model=MODEL, ranks=NUM_RANKS, seeds=len(seeds), heads=HEADS)
    accuracy = found.table("Accuracy")
    for name in sources:
        whole: list[float] = []
        with partitioned(name, NUM_RANKS) as stored:
            for wire_dtype in WIRE_DTYPES:
                arguments = (stored.path, MODEL, seeds, max_epochs, wire_dtype)
                outcomes: list[Outcome] = launch(train_rank, *arguments, num_ranks=NUM_RANKS)[0]
                reached, epochs = percent(outcomes), [len(each.losses) for each in outcomes]
                whole = whole or reached
                off = statistics.fmean(reached) - statistics.fmean(whole)
                error = math.sqrt(sum(statistics.variance(each) / len(each) for each in (reached, whole)))  # Welch
                row = {
                    "data set": name,
                    "model": MODEL,
                    "rows travel as": wire_dtype,
                    "test accuracy, %: mean ± std": mean_std(reached),
                    "difference from float32": "–" if reached is whole else f"{off:+.2f}",
                    "standard error of it": "–" if reached is whole else f"{error:.2f}",
                    "epochs, median": f"{statistics.median(epochs):.0f}",
                    "sent per epoch, KiB": f"{sum(each.rows_bytes for each in outcomes) / sum(epochs) / 2**10:,.1f}",
                }
                accuracy.add(row)
                if wire_dtype == "bfloat16":
                    claim = f"{MODEL} on {name} as bfloat16 within {NOISE:.0f} standard errors of float32"
                    found.demand(abs(off) <= NOISE * error, f"{claim}: {off:+.2f} of {error:.2f}")
    wide = found.table("Bytes of wide rows")
    with found.partitioned() as stored:
        for model, width in found.size.hidden.items():
            sent: dict[WireDtype, int] = {}
            for wire_dtype in WIRE_DTYPES:
                use = train(stored.path, {"wire_dtype": wire_dtype}, model, found.size, num_ranks=NUM_RANKS)
                sent[wire_dtype] = use.sent
                row = {"model": model, "rows travel as": wire_dtype, **use.cells("sent per epoch, MiB")}
                wide.add(row | {"of float32": f"{use.sent / sent['float32']:.3f}"} | use.cells("last loss"))
            half = sent["bfloat16"] / sent["float32"]
            claim = f"{model} of width {width} sends at most {NARROW_HALF} of the bytes as bfloat16"
            found.verdict(half <= NARROW_HALF, f"{claim}: {half:.3f}")
