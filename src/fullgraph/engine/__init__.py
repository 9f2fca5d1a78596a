"""Sequential aggregation and rematerialisation: what layers call instead of touching rows of other ranks."""

from fullgraph.engine.aggregate import Reduction, sum_neighbours
from fullgraph.engine.arguments import Arguments
from fullgraph.engine.attention import EdgeDropout, attend
from fullgraph.engine.blockwise import Decomposition, Values, aggregate_by_block
from fullgraph.engine.extremum import extremum_neighbours
from fullgraph.engine.halo import Halo, with_halo, without_halo
from fullgraph.engine.linear import is_differentiable_again, linear
from fullgraph.engine.linear_sums import linear_sum
from fullgraph.engine.neighbourhoods import Neighbourhood, neighbourhoods, run_by_neighbourhood
from fullgraph.engine.norm import batch_norm
from fullgraph.engine.pieces import Piece
from fullgraph.engine.plan import Plan
from fullgraph.engine.randomness import draw_key, hashed, keyed_dropout, keyed_normal, keyed_uniform
from fullgraph.engine.recompute import Recipes, unchanged
from fullgraph.engine.scores import Additive, BothEnds, DotProduct
from fullgraph.engine.source_rows import SourceRows, source_rows
from fullgraph.engine.statistics import Extremum, Product, SoftmaxSum, Statistic, Sum
from fullgraph.engine.streamed import Source, StreamedRows
from fullgraph.engine.walk import Walk

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
