"""``fullgraph train``: from a graph or a data set's name to a trained model, on ranks that it starts itself."""

import os
import signal
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from fullgraph.cli.options import with_train_options
from fullgraph.cli.progress import ProgressBar
from fullgraph.cli.source import join, partitioned
from fullgraph.comm.launch import launch
from fullgraph.errors import InputError, PeerLost
from fullgraph.train import Summary, TrainConfig, files
from fullgraph.train import train as train_model

EXAMPLE = "Example: fullgraph train cora --model gat --heads 8 --num-ranks 2 --epochs 200 --patience 50"

RUN_HELP = "run folder; default runs/NAME-TIME; under torchrun write --run-folder, as torchrun takes --run for its own"


@with_train_options
def train(
    source: Annotated[str, typer.Argument(help="a partitioned graph, or a data set that is partitioned first")],
    num_ranks: Annotated[int | None, typer.Option(help="ranks to start on this machine; default 1")] = None,
    num_parts: Annotated[int | None, typer.Option(help="parts of a data set; default one per rank")] = None,
    method: Annotated[str, typer.Option(help="partitioning of a data set: metis, random or contiguous")] = "metis",
    partition_seed: Annotated[int, typer.Option(help="seed of the partitioning of a data set")] = 0,
    run: Annotated[Path | None, typer.Option("--run", "--run-folder", help=RUN_HELP)] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on from the checkpoint in --run")] = False,
    trace: Annotated[Path | None, typer.Option(help="write what all ranks do in the third epoch, for Perfetto")] = None,
    **options: Any,
) -> None:
    """Train a model on the whole graph SOURCE and write a run folder.

    Under torchrun (RANK and WORLD_SIZE in the environment) this is one rank of the run and starts no others.
    """
    if resume and run is None:
        raise InputError("--resume needs the --run folder to go on with; the folder given: none")
    config = _config({name: value for name, value in options.items() if value is not None}, run if resume else None)
    run = run or Path("runs") / f"{Path(source).stem}-{time.strftime('%Y%m%d-%H%M%S')}"

    def graph(ranks: int) -> Path:
        return partitioned(source, num_parts=num_parts or ranks, method=method, seed=partition_seed)

    if "WORLD_SIZE" in os.environ:
        with closing(join(config.backend, config.device)) as world:
            if num_ranks not in (None, world.num_ranks):
                raise InputError(
                    f"this process is one of {world.num_ranks} ranks that a launcher started, which "
                    f"--num-ranks cannot change; leave it out: {num_ranks}"
                )
            path = world.together(lambda: graph(world.num_ranks) if world.rank == 0 else None)
            path, folder, trace = world.gather_objects((path, run, trace))[0]
            bar = ProgressBar()
            summary = train_model(path, folder, config, world, resume=resume, watchers=[bar], trace=trace)
            if world.rank == 0:
                _show(summary, folder, trace)
        return
    num_ranks = 1 if num_ranks is None else num_ranks
    if num_ranks < 1:
        raise InputError(f"--num-ranks must be at least 1: {num_ranks}")
    path = graph(num_ranks)
    again = f"to go on from the last checkpoint: fullgraph train {source} --num-ranks {num_ranks} --run {run} --resume"
    try:
        summary = launch(_train_rank, path, run, config, resume, trace, num_ranks=num_ranks)[0]
    except PeerLost as error:
        raise PeerLost(f"{error}\n{again}") from None
    except KeyboardInterrupt:
        print(f"stopped; {again}", file=sys.stderr)
        raise SystemExit(128 + signal.SIGINT) from None
    _show(summary, run, trace)


def _config(given: dict[str, Any], resumed: Path | None) -> TrainConfig:
    """The config of the options given; of a resumed run, its own with those options changed."""
    if resumed is None:
        return TrainConfig(**given)
    path = resumed / files.CONFIG
    if not path.exists():
        raise InputError(f"--resume needs a run folder with a {files.CONFIG}, which is not there: {resumed}")
    return TrainConfig.from_dict({**TrainConfig.values_from_json(path.read_text(encoding="utf-8"), path), **given})


def _train_rank(graph: Path, run: Path, config: TrainConfig, resume: bool, trace: Path | None) -> Summary:
    with closing(join(config.backend, config.device)) as world:
        return train_model(graph, run, config, world, resume=resume, watchers=[ProgressBar()], trace=trace)


def _show(summary: Summary, run: Path, trace: Path | None) -> None:
    def percent(value: float | None) -> str:
        return "—" if value is None else f"{100 * value:.2f} %"

    table = Table(title=f"{summary.model}, {summary.num_ranks} ranks, mode {summary.mode}", show_header=False)
    table.add_row("best epoch", f"{summary.best_epoch} of {summary.epochs}")
    table.add_row("loss", f"{summary.train_loss:.6f}")
    table.add_row(
        "train / val / test accuracy",
        " / ".join(percent(value) for value in (summary.train_accuracy, summary.val_accuracy, summary.test_accuracy)),
    )
    table.add_row("epoch, median", f"{1000 * summary.epoch_seconds_median:.1f} ms")
    table.add_row("peak memory growth by rank", mebibytes(summary.peak_memory_bytes_per_rank))
    table.add_row("sent per epoch by rank", mebibytes(summary.bytes_sent_per_epoch_per_rank))
    table.add_row("run folder", str(run))
    if trace is not None:
        table.add_row("trace, for https://ui.perfetto.dev", str(trace))
    Console().print(table)


def mebibytes(values: list[int]) -> str:
    """Bytes of each rank as one line of text."""
    return ", ".join(f"{value / 2**20:.2f}" for value in values) + " MiB"
