"""``fullgraph.explain``: how each layer of a model will run, told before anything runs.

Whoever finds out in the tenth epoch that one layer fetches all boundary rows at once has paid for it already. What is
said here follows from a layer's class and configuration alone, as the choice itself does.
"""

from dataclasses import dataclass

from torch.nn import Module
from torch_geometric.data.data import BaseData
from torch_geometric.nn import DirGNNConv

from fullgraph.pyg.data import indices, rank_graph
from fullgraph.pyg.rank_graph import RankGraph
from fullgraph.pyg.refused import reason_to_refuse
from fullgraph.pyg.rules import Choice, Converted, Way, original_class, rules_in

_TRANSFERS = {
    Way.WALK: "each boundary row once, and once backward; a sum of constant rows nothing after the first time",
    Way.BLOCKS: "each boundary row once; backward again (twice unless it sums or averages), and its gradient",
    Way.NEIGHBOURHOODS: "a boundary row once per neighbourhood that needs it; backward again, and its gradient",
    Way.AT_ONCE: "each boundary row once; its gradient once",
    Way.ROW_WISE: "no rows",
    Way.REFUSED: "",
}
_STORED = {
    Way.WALK: "at most own rows and a few numbers per row",
    Way.BLOCKS: "its own input rows and edge arguments",
    Way.NEIGHBOURHOODS: "its own input rows and edge arguments",
    Way.AT_ONCE: "all boundary rows, and what PyG stores per edge",
    Way.ROW_WISE: "own rows",
    Way.REFUSED: "",
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
    """What `explain` prints, as data: the layers that have a rule or are refused, in the model's order."""
    graph = rank_graph(data)
    found, refused, flipped, rules = [], [], [], dict(rules_in(model))
    for name, module in model.named_modules():
        if any(name.startswith(f"{parent}." if parent else "") for parent in refused):
            continue
        if isinstance(module, DirGNNConv):
            flipped.append(f"{name}.conv_out".lstrip("."))
        reason, choice = reason_to_refuse(module), None
        if reason is not None:
            choice = Choice(Way.REFUSED, reason)
            refused.append(name)
        elif name in flipped:
            choice = Choice(Way.AT_ONCE, "it is given the flipped graph")
        else:
            choice = _choice(module, rules.get(module), graph)
        if choice is not None:
            layer = original_class(type(module)).__name__
            found.append(ExplainedLayer(name, layer, choice.way, choice.why))
    return found


def explain(model: Module, data: BaseData) -> str:
    """How each layer of ``model`` will run on the graph of ``data``, as a table. Nothing runs and nothing changes.

    A layer *walks* over other ranks' rows a round at a time, forms its own messages on the way *block by block*, runs
    its own code *by neighbourhood*, some edges at a time, takes all boundary rows *all at once*, works *row-wise*, or
    is *refused* by ``prepare``. Asked for its attention weights, a layer takes all rows at once.

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
    num_own = sum(len(ids) for ids in graph.node_ids.values())
    num_needed = sum(index.relation.halo.routes.num_received for index in indices(data).values())
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
