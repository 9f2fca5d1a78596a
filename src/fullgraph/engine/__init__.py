"""Sequential aggregation and rematerialisation: what layers call instead of touching rows of other ranks."""

from fullgraph.engine.attention.attend import EdgeDropout, attend
from fullgraph.engine.attention.scores import Additive, BothEnds, DotProduct
from fullgraph.engine.attention.source_rows import SourceRows, source_rows
from fullgraph.engine.disk.rows import Source, StreamedRows
from fullgraph.engine.messages.arguments import Arguments
from fullgraph.engine.messages.by_block import aggregate_by_block
from fullgraph.engine.messages.by_neighbourhood import Neighbourhood, neighbourhoods, run_by_neighbourhood
from fullgraph.engine.messages.pieces import Piece
from fullgraph.engine.messages.statistics import Decomposition, Extremum, Product, SoftmaxSum, Statistic, Sum, Values
from fullgraph.engine.neighbours.extremum import extremum_neighbours
from fullgraph.engine.neighbours.linear_sum import linear_sum
from fullgraph.engine.neighbours.sum import Reduction, sum_neighbours
from fullgraph.engine.nodewise.draws import draw_key, hashed, keyed_dropout, keyed_normal, keyed_uniform
from fullgraph.engine.nodewise.linear import is_differentiable_again, linear
from fullgraph.engine.nodewise.norm import batch_norm
from fullgraph.engine.nodewise.recompute import Recipes, unchanged
from fullgraph.engine.walks.halo import Halo, with_halo, without_halo
from fullgraph.engine.walks.plan import Plan
from fullgraph.engine.walks.walk import Walk

__all__ = [
    "Additive",
    "Arguments",
    "BothEnds",
    "Decomposition",
    "DotProduct",
    "EdgeDropout",
    "Extremum",
    "Halo",
    "Neighbourhood",
    "Piece",
    "Plan",
    "Product",
    "Recipes",
    "Reduction",
    "SoftmaxSum",
    "Source",
    "SourceRows",
    "Statistic",
    "StreamedRows",
    "Sum",
    "Values",
    "Walk",
    "aggregate_by_block",
    "attend",
    "batch_norm",
    "draw_key",
    "extremum_neighbours",
    "hashed",
    "is_differentiable_again",
    "keyed_dropout",
    "keyed_normal",
    "keyed_uniform",
    "linear",
    "linear_sum",
    "neighbourhoods",
    "run_by_neighbourhood",
    "source_rows",
    "sum_neighbours",
    "unchanged",
    "with_halo",
    "without_halo",
]
