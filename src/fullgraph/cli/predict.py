"""``fullgraph predict``: a trained model's predictions for every node of a graph."""

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from fullgraph.cli.manners import listening, output, with_output
from fullgraph.cli.output import Manner, Output
from fullgraph.cli.source import TIMEOUT_HELP, for_ranks, join, partitioned
from fullgraph.comm.launch import launch
from fullgraph.comm.world import DEFAULT_TIMEOUT
from fullgraph.predict import predict as predict_graph

EXAMPLE = "Example: fullgraph predict arxiv.fg runs/arxiv-1 --out pred.npz --num-ranks 4"


@with_output
def predict(
    graph: Annotated[str, typer.Argument(help="a partitioned graph, or a data set that is partitioned first")],
    run: Annotated[Path, typer.Argument(help="the run folder of the trained model")],
    out: Annotated[Path, typer.Option(help="the .npz file to write: node_ids and what is predicted")],
    pairs: Annotated[Path | None, typer.Option(help="task link: an .npy of pairs of node ids [n, 2] to score")] = None,
    num_ranks: Annotated[int, typer.Option(help="ranks to start on this machine", min=1)] = 1,
    backend: Annotated[str, typer.Option(help="torch.distributed backend")] = "auto",
    device: Annotated[str, typer.Option(help="device: auto (a GPU if there is one), cpu, cuda, …")] = "auto",
    timeout: Annotated[float, typer.Option(help=TIMEOUT_HELP)] = DEFAULT_TIMEOUT,
    *,
    told: Output,
) -> None:
    """Predict every node of GRAPH with the best model of RUN, rows in the original node order."""
    folder = for_ranks(partitioned(graph, num_parts=num_ranks, method="metis", seed=0), num_ranks)
    launch(_predict_rank, folder, run, out, pairs, backend, device, timeout, told.manner, num_ranks=num_ranks)
    told.result(f"wrote {out}", {"predictions": str(out)})


def _predict_rank(
    graph: Path, run: Path, out: Path, pairs: Path | None, backend: str, device: str, timeout: float, manner: Manner
) -> None:
    with closing(join(backend, device, timeout)) as world, listening(output(manner if world.rank == 0 else "quiet")):
        predict_graph(graph, run, out, world, pairs)
