"""How a layer changes its behaviour on a partitioned graph without becoming another layer.

Each rule is a subclass of one PyG or torch layer, under the same name, and an instance is moved to it by its
``__class__``: parameters, hooks, ``state_dict`` keys and ``repr`` stay what they are, and an ordinary ``edge_index``
takes the original path. Pickled, the layer is the original one again, so a saved model needs neither this package nor
the graph; copied, it stays on the graph.
"""

import copy
import copyreg
from typing import Any, Self

from torch.nn import Module

from fullgraph.pyg.data.edges import Edges
from fullgraph.pyg.data.graph import RankGraph
from fullgraph.pyg.general.choice import Choice
from fullgraph.rows import View


class Converted(Module):
    """Mixed in front of the original layer.

    Attributes:
        rank_graph: the graph that it was prepared for.
        has_weights: whether the sums that it forms always have weights.
    """

    rank_graph: RankGraph
    has_weights = False

    @property
    def view(self) -> View:
        """The ranks."""
        return self.rank_graph.view

    def walked_edges(self, edges: Edges) -> Edges | None:
        """The edges that this layer walks over when it is given ``edges``; None if it takes none, or does not walk."""
        return None

    @property
    def forms_sums(self) -> bool:
        """Whether what it does on these edges is a sum of source rows, which may be formed in part where they are."""
        return False

    def choice(self) -> Choice | None:
        """How this layer runs and why, from its class and configuration alone; None if it is no layer of its own."""
        return None

    def __reduce_ex__(self, protocol: Any) -> Any:
        state = {name: value for name, value in self.__dict__.items() if name != "rank_graph"}
        return copyreg._reconstructor, (original_class(type(self)), object, None), state  # pyright: ignore[reportAttributeAccessIssue]

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        twin.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return twin


def original_class(converted: type) -> type:
    """The layer's class before conversion; the class itself if it was never converted."""
    return next(cls for cls in converted.__mro__ if not issubclass(cls, Converted))


def convert_instance(module: Module, rule: type, graph: RankGraph) -> None:
    """Move ``module`` to the class ``rule``, in place."""
    module.__class__ = rule
    module.__dict__["rank_graph"] = graph
