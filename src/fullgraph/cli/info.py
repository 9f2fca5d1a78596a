"""``fullgraph info``: what a partitioned graph holds and how good its partition is."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.table import Table

from fullgraph.cli.manners import with_output
from fullgraph.cli.output import Output
from fullgraph.errors import InputError
from fullgraph.extras import extra
from fullgraph.graph import PartitionedGraph
from fullgraph.graph.quality import PartitionQuality, partition_quality

EXAMPLE = "Example: fullgraph info arxiv.fg --plot arxiv.png"


@with_output
def info(
    graph: Annotated[Path, typer.Argument(help="a partitioned graph's folder")],
    plot: Annotated[Path | None, typer.Option(help="draw the parts as bars into this .png file")] = None,
    *,
    told: Output,
) -> None:
    """Show the nodes, edges, halo rows, edge cut and balance of a partitioned graph."""
    if plot is not None and plot.suffix != ".png":
        raise InputError(f"the plot is written as .png; give --plot a name that ends so: {plot}")
    stored = PartitionedGraph.open(graph)
    quality = partition_quality(stored)
    if plot is not None:
        _draw(quality, plot, str(graph))
    shown = Group(_whole(stored, quality), _parts(quality), *([] if plot is None else [f"wrote {plot}"]))
    told.result(shown, _values(stored, quality))


def _values(stored: PartitionedGraph, quality: PartitionQuality) -> dict[str, Any]:
    return {
        "graph": str(stored.path),
        "num_nodes": quality.num_nodes,
        "num_edges": {" ".join(relation): count for relation, count in quality.num_edges.items()},
        "num_features": {node_type: stored.num_features(node_type) for node_type in stored.node_types},
        "num_classes": stored.num_classes,
        "edge_cut": sum(quality.edge_cut.values()),
        "parts": [asdict(each) for each in quality.parts],
    }


def _whole(stored: PartitionedGraph, quality: PartitionQuality) -> Table:
    table = Table(title=str(stored.path), show_header=False)
    for node_type, count in quality.num_nodes.items():
        arrays = ", ".join(stored.node_array_names(node_type)) or "no arrays"
        table.add_row(f"nodes: {node_type}", f"{count:,} ({arrays})")
    for relation, count in quality.num_edges.items():
        arrays = ", ".join(stored.edge_array_names(relation)) or "no arrays"
        table.add_row(f"edges: {' '.join(relation)}", f"{count:,} ({arrays})")
    table.add_row("features", ", ".join(str(stored.num_features(node_type)) for node_type in stored.node_types))
    table.add_row("classes", "none" if stored.num_classes is None else str(stored.num_classes))
    table.add_row("parts", str(stored.num_parts))
    table.add_row("edge cut", f"{sum(quality.edge_cut.values()):,} edges, {100 * quality.edge_cut_fraction:.2f} %")
    table.add_row(
        "largest part over the mean",
        f"nodes {quality.node_balance:.3f}, edges {quality.edge_balance:.3f}, halo {quality.halo_balance:.3f}",
    )
    return table


def _parts(quality: PartitionQuality) -> Table:
    table = Table("part", "nodes", "edges", "halo rows", "boundary rows")
    for part, each in enumerate(quality.parts):
        numbers = (each.num_nodes, each.num_edges, each.num_halo, each.num_boundary)
        table.add_row(str(part), *(f"{number:,}" for number in numbers))
    return table


def _draw(quality: PartitionQuality, path: Path, title: str) -> None:
    with extra("plots", "--plot"):
        from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3), layout="constrained")
    figure.suptitle(title)
    parts = range(len(quality.parts))
    columns = {
        "nodes": [each.num_nodes for each in quality.parts],
        "edges": [each.num_edges for each in quality.parts],
        "halo rows": [each.num_halo for each in quality.parts],
    }
    for axes, (name, values) in zip(figure.subplots(1, len(columns)), columns.items(), strict=True):
        axes.bar(parts, values)
        axes.axhline(sum(values) / len(values), color="black", linewidth=0.8, linestyle="--")
        axes.set(title=name, xlabel="part")
    figure.savefig(path)
