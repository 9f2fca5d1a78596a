"""What rows lose by travelling narrower: accuracy on real graphs over many seeds, beside the bytes that it saves."""

import math
import statistics
import tempfile
from pathlib import Path

import fullgraph as fg
from fullgraph.bench.accuracy import NUM_RANKS, Outcome, mean_std, train_rank
from fullgraph.bench.case import Request
from fullgraph.bench.report import Report, Table, verdict
from fullgraph.bench.training import HEADS, RankUse
from fullgraph.bench.training import train_rank as train_wide
from fullgraph.comm.launch import launch
from fullgraph.config import WIRE_DTYPES, WireDtype
from fullgraph.datasets import load

NOISE = 2.0
"""Standard errors of a difference of two means that count as noise."""

NARROW_HALF = 0.6
"""Most that bfloat16 may send of float32's bytes where rows are wide: half, and the scores, which travel whole."""

MODEL = "GCN"
"""Whose accuracy is measured: of the models of the case `accuracy` the fastest to train, as there are 60 runs."""

WIDTHS = {"SAGE": 256, "GAT": 128}

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
    max_epochs, epochs = (3, 2) if request.quick else (None, 3)
    verdicts, accuracy_rows = [], []
    with tempfile.TemporaryDirectory() as folder:
        for source in sources:
            fg.partition(load(source), Path(folder) / source, num_parts=NUM_RANKS)
        for source in sources:
            whole: list[Outcome] = []
            for wire_dtype in WIRE_DTYPES:
                arguments = (Path(folder) / source, MODEL, seeds, max_epochs, wire_dtype)
                outcomes = launch(train_rank, *arguments, num_ranks=NUM_RANKS)[0]
                whole = whole or outcomes
                accuracy_rows.append((source, MODEL, wire_dtype, *_cells(outcomes, whole)))
                request.tell(", ".join(accuracy_rows[-1]))
                if wire_dtype == "bfloat16" and not request.quick:
                    verdicts.append(_within_noise(source, outcomes, whole))
        source = request.graph or ("synthetic-tiny" if request.quick else "synthetic-small")
        stored = fg.partition(load(source), Path(folder) / "wide.fg", num_parts=NUM_RANKS)
        bytes_rows = []
        for model, width in WIDTHS.items():
            sent: dict[WireDtype, int] = {}
            for wire_dtype in WIRE_DTYPES:
                arguments = (Path(folder) / "wide.fg", {"wire_dtype": wire_dtype}, model, width, 3, epochs)
                ranks: list[RankUse] = launch(train_wide, *arguments, num_ranks=NUM_RANKS)
                sent[wire_dtype] = max(each.sent[-1] for each in ranks)
                share, loss = sent[wire_dtype] / sent["float32"], ranks[0].losses[-1]
                bytes_rows.append(
                    (model, wire_dtype, f"{sent[wire_dtype] / 2**20:,.1f}", f"{share:.3f}", f"{loss:.6f}")
                )
                request.tell(", ".join(bytes_rows[-1]))
            half = sent["bfloat16"] / sent["float32"]
            claim = f"{model} of width {width} sends at most {NARROW_HALF} of the bytes as bfloat16: {half:.3f}"
            verdicts.append(verdict(half <= NARROW_HALF, claim))
    about = _ABOUT.format(
        model=MODEL,
        ranks=NUM_RANKS,
        seeds=len(seeds),
        sage=WIDTHS["SAGE"],
        gat=WIDTHS["GAT"],
        heads=HEADS,
        epochs=epochs,
        **request.facts(source, stored),
    )
    return Report(
        title="Rows that travel narrower",
        about=about,
        verdicts=tuple(verdicts),
        tables=(
            Table(title="Accuracy", columns=ACCURACY_COLUMNS, rows=tuple(accuracy_rows)),
            Table(title="Bytes of wide rows", columns=BYTES_COLUMNS, rows=tuple(bytes_rows)),
        ),
    )


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
