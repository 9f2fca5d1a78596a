"""``fullgraph.explain``: how each layer of a model will run, told before anything runs.

Whoever finds out in the tenth epoch that one layer fetches all boundary rows at once has paid for it already. What is
said here follows from a layer's class and configuration alone, as the choice itself does.
"""

from dataclasses import dataclass

from torch.nn import Module
from torch_geometric.data.data import BaseData

from fullgraph.pyg.data.graph import RankGraph, rank_graph
from fullgraph.pyg.rules import Choice, Converted, Way, original_class, rules_in

_TRANSFERS = {
    Way.WALK: "each boundary row once, and once backward; a sum of constant rows nothing after the first time",
    Way.BLOCKS: "each boundary row once; backward again (twice unless it sums or averages), and its gradient",
    Way.NEIGHBOURHOODS: "a boundary row once per neighbourhood that needs it; backward again, and its gradient",
    Way.AT_ONCE: "each boundary row once; its gradient once",
}
_STORED = {
    Way.WALK: "at most own rows and a few numbers per row",
    Way.BLOCKS: "its own input rows and edge arguments",
    Way.NEIGHBOURHOODS: "its own input rows and edge arguments",
    Way.AT_ONCE: "all boundary rows, and what PyG stores per edge",
}
_HEADINGS = ("layer", "class", "runs", "because", "sent per call", "stored for backward")


@dataclass(frozen=True)
class ExplainedLayer:
    """One layer of a model.

    Attributes:
        name: where it is in the model; empty for the model itself.
        layer: its class's name.
        way: how it runs.
        why: what decides that.
    """

    name: str
    layer: str
    way: Way
    why: str

    @property
    def transfers(self) -> str:
        """Which rows of other ranks it asks for, per call with backward."""
        return _TRANSFERS[self.way]

    @property
    def stored(self) -> str:
        """What stays in memory until its backward."""
        return _STORED[self.way]


def explained_layers(model: Module, data: BaseData) -> list[ExplainedLayer]:
    """What `explain` prints, as data: the layers that pass messages, in the model's order."""
    graph, rules, found = rank_graph(data), dict(rules_in(model)), []
    for name, module in model.named_modules():
        choice = _choice(module, rules.get(module), graph)
        if choice is not None:
            found.append(ExplainedLayer(name, original_class(type(module)).__name__, choice.way, choice.why))
    return found


def explain(model: Module, data: BaseData) -> str:
    """How each layer of ``model`` will run on the graph of ``data``, as a table. Nothing runs and nothing changes.

    A layer *walks* over other ranks' rows a round at a time, forms its own messages on the way *block by block*, runs
    its own code *by neighbourhood*, some edges at a time, or takes all boundary rows *all at once*. Asked for its
    attention weights, a layer takes all rows at once.

    Args:
        model: converted or not.
        data: from ``fullgraph.open``.

    Returns:
        A table with a line per layer, below a line about this rank's share of the graph.
    """
    graph = rank_graph(data)
    rows = [(e.name, e.layer, e.way.value, e.why, e.transfers, e.stored) for e in explained_layers(model, data)]
    widths = [max(map(len, column)) for column in zip(_HEADINGS, *rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (_HEADINGS, *rows)
    ]
    num_own = sum(space.num_own for space in graph.nodes.values())
    num_needed = sum(edges.halo.routes.num_received for edges in graph.edges.values())
    share = (
        f"rank {graph.world.rank} of {graph.world.num_ranks}: {num_own} own rows, "
        f"{num_needed} rows needed from other ranks, mode {graph.config.mode}"
    )
    return "\n".join([share, *(line.rstrip() for line in lines)])


def _choice(module: Module, rule: type[Converted] | None, graph: RankGraph) -> Choice | None:
    if isinstance(module, Converted):
        return module.choice()
    if rule is None:
        return None
    twin = rule.__new__(rule)
    twin.__dict__.update(module.__dict__, rank_graph=graph)
    return twin.choice()
