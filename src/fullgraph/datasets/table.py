"""Reads an edge list from Parquet or CSV and node arrays from .npy files beside it: what data pipelines give."""

from pathlib import Path

import numpy as np

from fullgraph.datasets.bounds import check_npy, demand_bounded
from fullgraph.datasets.npz import graph_from_arrays, naming
from fullgraph.errors import GraphFormatError
from fullgraph.extras import extra
from fullgraph.graph.graph import Graph


def read_table(path: Path) -> Graph:
    """Columns ``src`` and ``dst``, whole numbers; any other numeric column is stored per edge under its own name.

    Beside ``NAME.parquet``, each ``NAME.ARRAY.npy`` is one node array or index list, named as in an .npz
    (``NAME.x.npy``, ``NAME.y.npy``, ``NAME.train_idx.npy``, ``NAME.train_mask.npy``, …). Without ``x`` and ``y`` the
    number of nodes is the largest id and one more.

    Raises:
        GraphFormatError: when a file cannot be read or lacks a column.
        InputError: when the graph breaks a rule of ``Graph``; the file is named.
        MissingExtra: without pyarrow.
    """
    with extra("parquet", "an edge list in Parquet or CSV"):
        import pyarrow as pa
        import pyarrow.csv
        import pyarrow.parquet
    try:
        if path.suffix == ".csv":
            table = pyarrow.csv.read_csv(path)
        else:
            about = pyarrow.parquet.read_metadata(path)
            demand_bounded("its table", 8 * about.num_rows * about.num_columns, path.stat().st_size)
            table = pyarrow.parquet.read_table(path)
        names = table.column_names
    except Exception as error:  # Arrow raises anything on garbage
        raise GraphFormatError(f"the edge list cannot be read ({error}): {path}") from error
    columns = {}
    for name in names:
        column = table.column(name)
        if column.null_count:
            raise GraphFormatError(f"column {name} has {column.null_count} empty values, fill them in: {path}")
        if pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_boolean(column.type):
            columns[name] = column.to_numpy()
    for end in ("src", "dst"):
        if end not in columns:
            raise GraphFormatError(
                f"the edge list needs numeric columns src and dst; it has {', '.join(names)}: {path}"
            )
        if columns[end].dtype.kind not in "iu":
            raise GraphFormatError(f"column {end} must hold whole numbers, not {columns[end].dtype}: {path}")
    stored = {"edge_index": np.stack([columns.pop("src").astype(np.int64), columns.pop("dst").astype(np.int64)])}
    stored |= {f"edge_{name}" if not name.startswith("edge_") else name: column for name, column in columns.items()}
    for file in sorted(path.parent.glob(f"{path.stem}.*.npy")):
        name = file.name[len(path.stem) + 1 : -len(".npy")]
        try:
            check_npy(file)
            stored[name] = np.load(file, allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise GraphFormatError(f"the file is no .npy of plain numbers ({error}): {file}") from error
    with naming(path):
        return graph_from_arrays(stored)
