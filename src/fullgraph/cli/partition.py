"""``fullgraph partition``: cuts a graph into parts, once, for any number of ranks up to the number of parts."""

from pathlib import Path
from typing import Annotated

import typer

from fullgraph.cli.manners import with_output
from fullgraph.cli.output import Output
from fullgraph.datasets import load
from fullgraph.pyg.partition import partition as partition_graph

EXAMPLE = "Example: fullgraph partition ogbn-arxiv arxiv.fg --num-parts 8"


@with_output
def partition(
    source: Annotated[str, typer.Argument(help="a data set's name, or a .npz, .pt, .parquet or .csv file")],
    out: Annotated[Path, typer.Argument(help="folder to write, by custom NAME.fg")],
    num_parts: Annotated[int, typer.Option(help="parts; a run has at most as many ranks")],
    method: Annotated[str, typer.Option(help="metis, random or contiguous")] = "metis",
    seed: Annotated[int, typer.Option(help="seed of the partitioning")] = 0,
    feature_dtype: Annotated[
        str | None, typer.Option(help="round the features to float16, bfloat16 or float32; default as they are")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace OUT if it exists")] = False,
    *,
    told: Output,
) -> None:
    """Cut SOURCE into parts and write them to OUT."""
    partition_graph(
        load(source),
        out,
        num_parts=num_parts,
        method=method,
        seed=seed,
        overwrite=overwrite,
        feature_dtype=feature_dtype,
    )
    told.result(f"wrote {out}; see: fullgraph info {out}", {"graph": str(out)})
