"""WLConv: colours by hashing all nodes' neighbourhoods into one table, which every rank makes of the whole graph."""

from typing import Any

import torch_geometric.nn as pyg
from torch import Tensor

from fullgraph.pyg.general.choice import Choice, Way
from fullgraph.pyg.general.converted import Converted
from fullgraph.rows import Rows, distribute, gather


class WLConv(Converted, pyg.WLConv):
    """Weisfeiler & Leman 1968."""

    def choice(self) -> Choice:
        """All at once."""
        return Choice(Way.AT_ONCE, "its table of colours is of the whole graph")

    def forward(self, x: Tensor, edge_index: Any) -> Tensor:
        if not isinstance(x, Rows):
            return super().forward(x, edge_index)
        return distribute(super().forward(gather(x), gather(edge_index)), x._space)
