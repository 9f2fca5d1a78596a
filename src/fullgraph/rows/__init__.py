"""The global view: tensors that show the whole graph and hold one rank's rows. No PyG and no graph here."""

from fullgraph.rows import (  # noqa: F401  the table's entries
    composites,
    contractions,
    dimensions,
    draws,
    factories,
    functions,
    gradients,
    joining,
    leaks,
    losses,
    metadata,
    pointwise,
    reading,
    reductions,
    sequences,
    shapes,
    values,
    vector_norms,
    writing,
)
from fullgraph.rows.adjoints import distribute, gather
from fullgraph.rows.routes import Away, Here
from fullgraph.rows.space import Count, Piece, Space
from fullgraph.rows.tensor import Rows, is_rows, local, rows
from fullgraph.rows.view import LooksBeyondPiece, View

__all__ = [
    "Away",
    "Count",
    "Here",
    "LooksBeyondPiece",
    "Piece",
    "Rows",
    "Space",
    "View",
    "distribute",
    "gather",
    "is_rows",
    "local",
    "rows",
]
