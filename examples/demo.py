"""Trains PyG's own GAT on a whole graph with two ranks, then with one, and shows that the two are the same training.

Run it with ``make demo`` or ``python examples/demo.py``; it needs no download and takes less than a minute.
"""

import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

import fullgraph as fg
from fullgraph.comm.launch import launch
from fullgraph.datasets import load
from fullgraph.train import Summary, TrainConfig, train
from fullgraph.train.metrics import read_metrics

# float64, because Adam enlarges rounding: in float32 the two curves part after some dozens of epochs.
CONFIG = TrainConfig(
    model="gat", hidden=64, heads=4, dropout=0.5, lr=0.01, weight_decay=5e-4, epochs=60, precision="64-true"
)


def rank_main(graph: Path, run: Path) -> Summary:
    """What each rank does: join the others and train."""
    world = fg.init()
    try:
        return train(graph, run, CONFIG, world)
    finally:
        world.close()


def main() -> None:
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / "digits.fg"
        fg.partition(load("digits"), graph, num_parts=2)
        summaries, losses = {}, {}
        for num_ranks in (2, 1):
            run = Path(folder) / f"{num_ranks}-ranks"
            with console.status(f"training a GAT on the digits graph with {num_ranks} rank(s)"):
                summaries[num_ranks] = launch(rank_main, graph, run, num_ranks=num_ranks)[0]
            losses[num_ranks] = [line["train_loss"] for line in read_metrics(run)]

    table = Table(title=f"PyG GAT, {CONFIG.heads} heads, {CONFIG.epochs} epochs, whole graph, no sampling")
    table.add_column("")
    for num_ranks in summaries:
        table.add_column(f"{num_ranks} ranks" if num_ranks > 1 else "1 rank", justify="right")
    for name, show in ROWS.items():
        table.add_row(name, *(show(summary) for summary in summaries.values()))
    console.print(table)
    difference = max(abs(two - one) for two, one in zip(losses[2], losses[1], strict=True))
    console.print(
        f"One rank gives the same loss curve as two: over {CONFIG.epochs} epochs (loss {losses[1][0]:.4f} to "
        f"{losses[1][-1]:.4f}, dropout included) the largest difference is {difference:.1e}."
        if difference < 1e-3
        else f"[red]One rank gives another loss curve than two: the largest difference is {difference:.1e}.[/red]"
    )


ROWS = {
    "test accuracy": lambda summary: f"{100 * summary.test_scores['accuracy']:.2f} %",
    "best epoch": lambda summary: str(summary.best_epoch),
    "epoch, median": lambda summary: f"{1000 * summary.epoch_seconds_median:.1f} ms",
    "peak memory of each rank": lambda summary: _mebibytes(summary.peak_memory_bytes_per_rank),
    "sent per epoch by each rank": lambda summary: _mebibytes(summary.bytes_sent_per_epoch_per_rank),
}


def _mebibytes(values: list[int]) -> str:
    return ", ".join(f"{value / 2**20:.2f}" for value in values) + " MiB"


if __name__ == "__main__":
    main()
