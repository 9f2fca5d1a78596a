"""``fullgraph train``: from a graph or a data set's name to a trained model, on ranks that it starts itself."""

import os
import time
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from fullgraph.cli.manners import listening, output, with_output
from fullgraph.cli.options import with_train_options
from fullgraph.cli.output import Manner, Output
from fullgraph.cli.source import TIMEOUT_HELP, for_ranks, join, partitioned
from fullgraph.comm.launch import RankFailed, launch
from fullgraph.comm.launchers import place
from fullgraph.comm.world import DEFAULT_TIMEOUT
from fullgraph.errors import FullgraphError, InputError, OutOfMemory, PeerLost, RanksDiffer
from fullgraph.train import Summary, TrainConfig
from fullgraph.train import train as train_model
from fullgraph.train.checkpoint import config_of, epochs
from fullgraph.train.config_file import read_options

EXAMPLE = "Example: fullgraph train cora --model gat --heads 8 --num-ranks 2 --epochs 200 --patience 50"

RUN_HELP = "run folder; default runs/NAME-TIME; under torchrun write --run-folder, as torchrun takes --run for its own"
CONFIG_HELP = "a .toml or .json file of training options, such as a run's config.json; options given here come first"
RESTARTS_HELP = "start all ranks again from the last checkpoint, at most so often, when one dies"
RESTARTED = (PeerLost, RanksDiffer, OutOfMemory, RankFailed)


@with_output
@with_train_options
def train(
    source: Annotated[str, typer.Argument(help="a partitioned graph, or a data set that is partitioned first")],
    num_ranks: Annotated[int | None, typer.Option(help="ranks to start on this machine; default 1")] = None,
    num_parts: Annotated[int | None, typer.Option(help="parts of a data set; default one per rank")] = None,
    method: Annotated[str, typer.Option(help="partitioning of a data set: metis, random or contiguous")] = "metis",
    partition_seed: Annotated[int, typer.Option(help="seed of the partitioning of a data set")] = 0,
    config: Annotated[Path | None, typer.Option(help=CONFIG_HELP)] = None,
    run: Annotated[Path | None, typer.Option("--run", "--run-folder", help=RUN_HELP)] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on from the checkpoint in --run")] = False,
    trace: Annotated[Path | None, typer.Option(help="write what all ranks do in the third epoch, for Perfetto")] = None,
    timeout: Annotated[float, typer.Option(help=TIMEOUT_HELP)] = DEFAULT_TIMEOUT,
    max_restarts: Annotated[int, typer.Option(help=RESTARTS_HELP)] = 0,
    *,
    told: Output,
    **options: Any,
) -> None:
    """Train a model on the whole graph SOURCE and write a run folder.

    Under torchrun, srun or mpirun this is one rank of the run and starts no others.
    """
    if max_restarts < 0:
        raise InputError(f"--max-restarts must be 0 or more: {max_restarts}")
    if resume and run is None:
        raise InputError("--resume needs the --run folder to go on with; the folder given: none")
    given = {name: value for name, value in options.items() if value is not None}
    given = given if config is None else {**read_options(config), **given}
    chosen = replace(config_of(run), **given) if resume and run else TrainConfig(**given)
    run = run or Path("runs") / f"{Path(source).stem}-{time.strftime('%Y%m%d-%H%M%S')}"

    def graph(ranks: int) -> Path:
        return partitioned(source, num_parts=num_parts or ranks, method=method, seed=partition_seed)

    if place(os.environ):
        with closing(join(chosen.backend, chosen.device, timeout)) as world:
            if num_ranks not in (None, world.num_ranks):
                raise InputError(
                    f"this process is one of {world.num_ranks} ranks that a launcher started, which "
                    f"--num-ranks cannot change; leave it out: {num_ranks}"
                )
            path = world.together(lambda: graph(world.num_ranks) if world.rank == 0 else None)
            resume = resume or (int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) > 0 and bool(epochs(run)))
            path, folder, trace, resume = world.gather_objects((path, run, trace, resume))[0]
            summary = train_model(path, folder, chosen, world, resume=resume, watchers=[told], trace=trace)
            if world.rank == 0:
                told.result(_table(summary, folder, trace), {**asdict(summary), "run": str(folder)})
        return
    num_ranks = 1 if num_ranks is None else num_ranks
    if num_ranks < 1:
        raise InputError(f"--num-ranks must be at least 1: {num_ranks}")
    path = for_ranks(graph(num_ranks), num_ranks)
    while True:
        try:
            summary = launch(_train_rank, path, run, chosen, resume, trace, timeout, told.manner, num_ranks=num_ranks)[
                0
            ]
            break
        except FullgraphError as error:
            if isinstance(error, RESTARTED) and max_restarts:
                resume, max_restarts = bool(epochs(run)), max_restarts - 1
                told.note(f"{type(error).__name__}: {error}\nstarting all ranks again")
                continue
            if error.exit_code != InputError.exit_code and epochs(run):
                again = f"fullgraph train {source} --num-ranks {num_ranks} --run {run} --resume"
                error.args = (f"{error}\nto go on from the last checkpoint: {again}",)
            raise
    told.result(_table(summary, run, trace), {**asdict(summary), "run": str(run)})


def _train_rank(
    graph: Path, run: Path, config: TrainConfig, resume: bool, trace: Path | None, timeout: float, manner: Manner
) -> Summary:
    with (
        closing(join(config.backend, config.device, timeout)) as world,
        listening(output(manner if world.rank == 0 else "quiet")) as told,
    ):
        return train_model(graph, run, config, world, resume=resume, watchers=[told], trace=trace)


def _table(summary: Summary, run: Path, trace: Path | None) -> Table:
    def score(name: str, of: dict[str, float] | None) -> str:
        return "—" if of is None else f"{of[name]:.4f}"

    table = Table(title=f"{summary.model}, {summary.num_ranks} ranks, mode {summary.mode}", show_header=False)
    table.add_row("best epoch", f"{summary.best_epoch} of {summary.epochs}")
    table.add_row("loss", f"{summary.train_loss:.6f}")
    of_masks = (summary.train_scores, summary.val_scores, summary.test_scores)
    for name in next((scores for scores in of_masks if scores is not None), {}):
        table.add_row(f"train / val / test {name}", " / ".join(score(name, scores) for scores in of_masks))
    table.add_row("epoch, median", f"{1000 * summary.epoch_seconds_median:.1f} ms")
    table.add_row("peak memory growth by rank", mebibytes(summary.peak_memory_bytes_per_rank))
    table.add_row("sent per epoch by rank", mebibytes(summary.bytes_sent_per_epoch_per_rank))
    table.add_row("run folder", str(run))
    if trace is not None:
        table.add_row("trace, for https://ui.perfetto.dev", str(trace))
    return table


def mebibytes(values: list[int]) -> str:
    """Bytes of each rank as one line of text."""
    return ", ".join(f"{value / 2**20:.2f}" for value in values) + " MiB"
