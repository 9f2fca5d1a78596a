"""Draws the same epoch with `prefetch` 0 and 1 as a timeline: what each rank computes, awaits and has under way.

    python benchmarks/timeline.py GRAPH.fg sage|gat NUM_RANKS OUT.svg

The links are those of `fullgraph bench link`: 1 Gbit/s, messages 5 ms late. Needs the right to make network namespaces.
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from matplotlib import pyplot
from torch.profiler import record_function

import fullgraph as fg
from fullgraph.bench.late import Late
from fullgraph.bench.link import LATENCY, RATE
from fullgraph.bench.shaped import Network, network
from fullgraph.bench.training import steps_of
from fullgraph.comm.launch import launch

MODELS = {"sage": ("SAGE", 256), "gat": ("GAT", 128)}  # as in `bench link`
PREFETCHES = (0, 1)
MOMENT = 1e-4  # seconds

KINDS: dict[str, tuple[str, int, Callable[[dict], bool]]] = {
    "between walks": ("#c7d2fe", 0, lambda span: span["name"] == "epoch"),
    "in a walk": ("#2563eb", 0, lambda span: span["name"] == "own rows" or span["name"].startswith("round ")),
    "waiting for rows": ("#dc2626", 0, lambda span: span["name"].startswith("waiting for rows")),
    "waiting for a sum": ("#f59e0b", 0, lambda span: span["name"].startswith("waiting for a sum")),
    "rows under way": ("#16a34a", 1, lambda span: span.get("cat") == "transfer"),
}
"""Colour, row of the rank, and which spans."""


def train(links: Network, path: str, name: str, traces: str) -> None:
    links.enter(int(os.environ["RANK"]))
    torch.set_num_threads(1)
    joined = fg.init()
    world = replace(joined, post=Late(joined.post, LATENCY))
    model, hidden = MODELS[name]
    for prefetch in PREFETCHES:
        step = steps_of(model, fg.open(path, world, prefetch=prefetch), hidden, 3)
        step()
        step()
        with fg.trace(f"{traces}/{prefetch}.json", world), record_function("epoch"):
            step()
    world.close()


class Epoch:
    """One traced epoch: per rank and kind, the seconds from its start when it began and how long it took."""

    def __init__(self, trace: Path, num_ranks: int):
        spans = [span for span in json.loads(trace.read_text())["traceEvents"] if span["ph"] == "X"]
        epochs = [span for span in spans if span["name"] == "epoch"]
        start = min(span["ts"] for span in epochs)
        self.seconds = max(span["ts"] + span["dur"] - start for span in epochs) / 1e6
        self.bars: list[dict[str, list[tuple[float, float]]]] = [
            {
                kind: [
                    ((span["ts"] - start) / 1e6, span["dur"] / 1e6)
                    for span in spans
                    if span["pid"] == rank and chosen(span) and 0 <= span["ts"] - start <= 1e6 * self.seconds
                ]
                for kind, (_, _, chosen) in KINDS.items()
            }
            for rank in range(num_ranks)
        ]

    def when(self, rank: int, kind: str) -> np.ndarray:
        """For each moment of the epoch, whether the rank does this."""
        moments = np.zeros(int(self.seconds / MOMENT) + 1, dtype=bool)
        for begun, took in self.bars[rank][kind]:
            moments[int(begun / MOMENT) : int((begun + took) / MOMENT)] = True
        return moments

    def figures(self) -> str:
        """How well what travels is hidden."""
        ranks = range(len(self.bars))
        waiting = [self.when(rank, "waiting for rows") for rank in ranks]
        hidden = [
            (self.when(rank, "in a walk") & ~waiting[rank] & self.when(rank, "rows under way")).sum() * MOMENT
            for rank in ranks
        ]
        return (
            f"{self.seconds:.2f} s; computing in a walk while rows are under way, by rank: "
            f"{', '.join(f'{each:.2f}' for each in hidden)} s; waiting for rows, by rank: "
            f"{', '.join(f'{each.sum() * MOMENT:.2f}' for each in waiting)} s; "
            f"all ranks at once: {np.logical_and.reduce(waiting).sum() * MOMENT:.2f} s"
        )

    def draw(self, axes: pyplot.Axes) -> None:
        for rank, bars in enumerate(self.bars):
            for kind, (colour, row, _) in KINDS.items():
                top, height = (rank, 0.5) if row == 0 else (rank + 0.54, 0.28)
                axes.broken_barh(bars[kind], (top, height), facecolors=colour, alpha=1 - row / 2, linewidth=0)
        axes.set_yticks([rank + 0.4 for rank in range(len(self.bars))], [f"rank {k}" for k in range(len(self.bars))])
        axes.set_ylim(len(self.bars), -0.15)


def main(path: str, name: str, num_ranks: int, out: str) -> None:
    mpl.use("Agg")
    mpl.rcParams.update({"svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9})
    figure, panels = pyplot.subplots(len(PREFETCHES), sharex=True, figsize=(9, 0.9 + 0.85 * num_ranks * 2))
    with tempfile.TemporaryDirectory() as traces:
        with network(num_ranks, RATE) as links:
            launch(train, links, path, name, traces, num_ranks=num_ranks)
        epochs = [Epoch(Path(traces) / f"{prefetch}.json", num_ranks) for prefetch in PREFETCHES]
    for axes, prefetch, epoch in zip(panels, PREFETCHES, epochs, strict=True):
        print(f"prefetch {prefetch}: {epoch.figures()}")
        epoch.draw(axes)
        axes.set_title(f"prefetch {prefetch}: {epoch.seconds:.2f} s", loc="left", fontsize=10)
    panels[-1].set_xlim(0, max(epoch.seconds for epoch in epochs))
    panels[-1].set_xlabel("seconds")
    colours = [pyplot.Rectangle((0, 0), 1, 1, facecolor=colour) for colour, _, _ in KINDS.values()]
    figure.legend(colours, KINDS, loc="lower center", ncols=len(KINDS), frameon=False)
    figure.tight_layout(rect=(0, 0.06, 1, 1))
    figure.savefig(out)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
