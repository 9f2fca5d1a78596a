"""What rows lose by travelling narrower: accuracy on real graphs over many seeds, beside the bytes that it saves."""

import math
import statistics

from fullgraph.bench.accuracy import NUM_RANKS, Outcome, mean_std, train_rank
from fullgraph.bench.case import Request, Size, partitioned
from fullgraph.bench.report import Report, mib, verdict
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

ACCURACY_COLUMNS = (
    "data set",
    "model",
    "rows travel as",
    "test accuracy, %: mean ± std",
    "difference from float32",
    "standard error of it",
    "epochs, median",
    "sent per epoch, KiB",
)
BYTES_COLUMNS = ("model", "rows travel as", "sent per epoch, MiB", "of float32", "last loss")

_ABOUT = """\
Accuracy: {model} with the hyperparameters and the stopping rule of the case `accuracy`, {ranks} ranks, {seeds} seeds,
the public split of each graph. The difference is that of the means; its standard error comes from both deviations.
Bytes are rows and gradients of rows that the first rank sends in an epoch of training and its evaluation. A layer whose
rows are fewer than 16 numbers wide, as the second one is here, sends them whole.

Bytes of wide rows: PyG's own GraphSAGE of hidden width {sage} and GAT of {heads} heads, {gat} columns together, 3
layers, batch norm, {epochs} epochs on {ranks} ranks. Graph: {label}, {nodes:,} nodes, {edges:,} edges, {features}
features, {classes} classes, cut once by METIS into {parts} parts.
"""


def run(request: Request) -> Report:
    """The case ``wire``; quick: two seeds of a few epochs on the digits."""
    sources = ("digits",) if request.quick else ("cora", "citeseer")
    seeds = range(2) if request.quick else range(10)
    max_epochs, size = (3, QUICK) if request.quick else (None, FULL)
    verdicts = []
    accuracy = request.table("Accuracy", ACCURACY_COLUMNS)
    for name in sources:
        whole: list[Outcome] = []
        with partitioned(name, NUM_RANKS) as stored:
            for wire_dtype in WIRE_DTYPES:
                arguments = (stored.path, MODEL, seeds, max_epochs, wire_dtype)
                outcomes = launch(train_rank, *arguments, num_ranks=NUM_RANKS)[0]
                whole = whole or outcomes
                accuracy.add(name, MODEL, wire_dtype, *_cells(outcomes, whole))
                if wire_dtype == "bfloat16" and not request.quick:
                    verdicts.append(_within_noise(name, outcomes, whole))
    source = request.graph or size.source
    wide = request.table("Bytes of wide rows", BYTES_COLUMNS)
    with partitioned(source, NUM_RANKS) as stored:
        for model, width in size.hidden.items():
            sent: dict[WireDtype, int] = {}
            for wire_dtype in WIRE_DTYPES:
                use = train(stored.path, {"wire_dtype": wire_dtype}, model, size, num_ranks=NUM_RANKS)
                sent[wire_dtype] = max(rank.sent[-1] for rank in use.ranks)
                share = sent[wire_dtype] / sent["float32"]
                wide.add(model, wire_dtype, mib(sent[wire_dtype]), f"{share:.3f}", use.last_loss)
            half = sent["bfloat16"] / sent["float32"]
            claim = f"{model} of width {width} sends at most {NARROW_HALF} of the bytes as bfloat16: {half:.3f}"
            verdicts.append(verdict(half <= NARROW_HALF, claim))
    about = _ABOUT.format(
        model=MODEL, ranks=NUM_RANKS, seeds=len(seeds), heads=HEADS, **size.facts(), **request.facts(source, stored)
    )
    return Report(title="Rows that travel narrower", about=about, verdicts=tuple(verdicts), tables=(accuracy, wide))


def _cells(outcomes: list[Outcome], whole: list[Outcome]) -> tuple[str, ...]:
    off, error = _difference(outcomes, whole)
    return (
        mean_std(outcomes),
        "–" if outcomes is whole else f"{off:+.2f}",
        "–" if outcomes is whole else f"{error:.2f}",
        f"{statistics.median(each.num_epochs for each in outcomes):.0f}",
        f"{sum(each.rows_bytes for each in outcomes) / sum(each.num_epochs for each in outcomes) / 2**10:,.1f}",
    )


def _within_noise(source: str, outcomes: list[Outcome], whole: list[Outcome]) -> str:
    off, error = _difference(outcomes, whole)
    claim = f"{MODEL} on {source} as bfloat16 within {NOISE:.0f} standard errors of float32: {off:+.2f} of {error:.2f}"
    return verdict(abs(off) <= NOISE * error, claim)


def _difference(outcomes: list[Outcome], whole: list[Outcome]) -> tuple[float, float]:
    """How far the mean accuracies lie apart, and the standard error of that (Welch), both in points."""
    accuracies = [[100 * each.test_accuracy for each in side] for side in (outcomes, whole)]
    error = math.sqrt(sum(statistics.variance(values) / len(values) for values in accuracies))
    return statistics.fmean(accuracies[0]) - statistics.fmean(accuracies[1]), error
