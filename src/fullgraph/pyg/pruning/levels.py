"""The rows that a loss over some nodes depends on, layer by layer: message-flow pruning of a partitioned graph.

Without it every layer computes all rows, however few of them the loss reads. A *level* is the set of rows that stand
between two layers: level `num_layers` holds the wanted rows, level k the rows of level k + 1 and all sources of their
in-edges (the message flow graphs of SAR; Mostafa, MLSys 2022). Layer k reads the rows of level k and computes those of
level k + 1. Levels are nested, so where rows of two meet, those of the later one are meant.

A level that would have nearly all rows has all of them. A layer that computes all rows walks over the graph's own
edges, as without pruning, and all such layers share one walk; edges of its own would take more memory than the few rows
save.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor

from fullgraph.engine import Halo, with_halo, without_halo
from fullgraph.errors import UnsupportedOperation
from fullgraph.pyg.data.edges import Edges
from fullgraph.pyg.data.streamed_rows import RowsOnDisk, with_space
from fullgraph.rows import Rows, Space, View
from fullgraph.rows.alignment import moved
from fullgraph.rows.homes import ranks_among
from fullgraph.rows.space import Subset
from fullgraph.rows.tensor import functions_off

NEARLY_ALL = 0.75
"""Share of all rows from which on a level has all. The walks over a layer's own edges take up to 16 bytes per edge, as
do the walks over the graph's own, which one layer or several need."""

_EDGES_AT_ONCE = 1 << 20


class LevelView(View):
    """The view of the graph, through which a running model cannot ask for what follows from all rows.

    Attributes:
        is_exact: whether it is refused, since not all rows are computed.
        is_running: whether a model runs.
    """

    __slots__ = ("is_exact", "is_running")  # all else is the graph's own

    def __init__(self, of: View, *, is_exact: bool):
        self.__dict__ = of.__dict__
        self.is_exact, self.is_running = is_exact, False

    def check(self) -> None:
        super().check()
        if self.is_exact and self.is_running:
            raise UnsupportedOperation(
                "a model on a pruned graph asks for something of all rows, but some are not computed; run it on the "
                'graph that was pruned, or give fullgraph.prune batch_norm="computed", which takes those that are'
            )

    @contextmanager
    def running(self) -> Iterator[None]:
        """While a model runs."""
        self.is_running = True
        try:
            yield
        finally:
            self.is_running = False


class Level(Subset):
    """The rows that stand between two layers.

    Attributes:
        parent: all nodes.
        number: of the layer that reads them.
        chosen: int64 ``[num_own]``, which of this rank's nodes they are, ascending.
    """

    def __init__(self, nodes: Space, view: LevelView, family: int, number: int, chosen: Tensor, num_rows: int):
        super().__init__(nodes, num_rows, chosen, ("level", family, number))
        self.view, self.number = view, number
        self._places: dict[int, Tensor] = {}

    @property
    def has_all(self) -> bool:
        """Whether they are all nodes."""
        return self.num_rows == self.parent.num_rows

    def is_after(self, other: Space) -> bool:
        """Whether these are rows of ``other``, all nodes or an earlier level."""
        earlier = isinstance(other, Level) and other.view is self.view and other.number < self.number
        return earlier or other == self.parent

    def rows_of(self, other: Space) -> Tensor | slice | None:
        """Of all nodes and of an earlier level."""
        if not self.is_after(other):
            return None
        if other.num_own == self.num_own:
            return slice(0, self.num_own)
        if not isinstance(other, Level):
            return self.chosen
        if other.number not in self._places:
            self._places[other.number] = torch.searchsorted(other.chosen, self.chosen)
        return self._places[other.number]

    def _find_positions(self) -> Tensor:
        return ranks_among(self.parent.view, self.parent.positions[self.chosen], self.parent.num_rows)


@dataclass(frozen=True)
class Step:
    """How the edges of a layer that computes some rows only follow from the graph's.

    Attributes:
        halo: rows of this rank's level k, and those of other ranks that edges into level k + 1 need.
        is_computed: bool ``[num_own]``, the rows of level k + 1.
        new_ids: int32 ``[num_extended]``, extended ids of the graph to those of ``halo``; what has none here holds any
            number.
        place: int32 ``[num_own]``, where each row of level k + 1 stands among these; any number for the others.
    """

    halo: Halo
    is_computed: Tensor
    new_ids: Tensor
    place: Tensor


class _Into(Space):
    """Those edges that lead to rows of a level. What most layers do not ask for is made anew when they do."""

    def __init__(self, walked: Edges, level: Level, step: Step, num_own: int):
        view = walked.view
        count = int(view.sum(torch.tensor([num_own], device=walked.device)))
        super().__init__(view, count, num_own, ("into", level.key, walked.space.key))
        self._walked, self._step = walked, step

    @property
    def chosen(self) -> Tensor:
        """Which of this rank's walked edges they are."""
        return self._step.is_computed[self._walked.ends()[1]].nonzero().squeeze(1)

    @cached_property
    def keys(self) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """As of all edges."""
        return self._walked.keys[self.chosen]

    def rows_of(self, other: Space) -> Tensor | slice | None:
        """Of all edges."""
        return self.chosen if other == self._walked.space else None

    def _find_positions(self) -> Tensor:
        walked = self._walked.space
        return ranks_among(walked.view, walked.positions[self.chosen], walked.num_rows)


class LevelEdges(Edges):
    """The in-edges of one level's rows, from rows of the level before.

    Self-loops, norms and whatever else reads the whole graph were taken care of before it was restricted.
    """

    def __init__(self, walked: Edges, step: Step, src_level: Level, dst_level: Level):
        num_own = int(step.is_computed[walked.ends()[1]].sum())
        space = _Into(walked, dst_level, step, num_own)
        super().__init__(space, src_level, dst_level, step.halo, lambda: _restricted_ids(walked, step))

    def narrowed_values(self, values: Tensor) -> Tensor:
        """The rows that belong to these edges; of constants made once, since walks send them to other ranks."""
        with functions_off():
            return self.constant("narrowed", values, lambda: moved(values, self.space))


def _restricted_ids(walked: Edges, step: Step) -> tuple[Tensor, Tensor]:
    """A few edges at a time: the steps between take several times the memory of the result."""
    pieces = []
    for src, dst in zip(*(ids.split(_EDGES_AT_ONCE) for ids in walked.ends()), strict=True):
        chosen = step.is_computed[dst]
        pieces.append(torch.stack([step.new_ids[src[chosen]], step.place[dst[chosen]]]))
    src, dst = torch.cat(pieces, dim=1)
    return src, dst


@dataclass(frozen=True, eq=False)
class Levels:
    """Which rows every layer reads and computes.

    Attributes:
        edges: all in-edges of a homogeneous graph.
        spaces: ``num_layers + 1`` levels.
        steps: per layer, how its edges follow from the graph's; None for one that computes all rows.
    """

    edges: Edges
    spaces: tuple[Level, ...]
    steps: tuple[Step | None, ...]
    _made: dict[tuple[Edges, int], LevelEdges] = field(default_factory=dict)

    @property
    def num_layers(self) -> int:
        """Layers between the first level and the last."""
        return len(self.steps)

    @property
    def view(self) -> LevelView:
        """The view of all levels."""
        return self.spaces[0].view  # pyright: ignore[reportReturnType]

    @classmethod
    def of(cls, edges: Edges, wanted: Tensor, num_layers: int, *, is_exact: bool) -> "Levels":
        """Walk back from the wanted rows, one step per layer. Collective.

        Args:
            edges: all in-edges of a homogeneous graph.
            wanted: bool ``[num_own]``, the rows that the last layer computes.
            num_layers: steps.
            is_exact: whether what follows from all rows is refused.
        """
        nodes, view = edges.dst_space, LevelView(edges.view, is_exact=is_exact)
        masks, counts = zip(*_backwards(edges, wanted, num_layers), strict=True)
        family = view.new_number()
        spaces = tuple(
            Level(nodes, view, family, number, mask.nonzero().squeeze(1), count)
            for number, (mask, count) in enumerate(zip(masks, counts, strict=True))
        )
        steps = (
            None if after.has_all else _step(edges, *pair)
            for after, pair in zip(spaces[1:], pairwise(masks), strict=True)
        )
        return cls(edges, spaces, tuple(steps))

    def restricted(self, walked: Edges, number: int) -> LevelEdges:
        """Those edges of ``walked`` that the layer of this number needs, which computes some rows only; made once.

        ``walked`` has edges of the graph that the levels belong to, and self-loops. Collective.
        """
        key, step = (walked, number), self.steps[number]
        assert step is not None
        if key not in self._made:
            self._made[key] = LevelEdges(walked, step, self.spaces[number], self.spaces[number + 1])
        return self._made[key]


def at_level(x: Rows, level: Level) -> Rows:
    """The rows of ``level`` among those of ``x``, which are all nodes' or an earlier level's.

    If these are all, it is the same memory, or stays on disk; some rows on disk are read.
    """
    if isinstance(x, RowsOnDisk) and x._space != level:
        return with_space(x.streamed if level.has_all else x.at(level), level)
    with functions_off():
        return moved(x, level)  # pyright: ignore[reportReturnType]


def as_all_nodes(x: Rows, level: Level) -> Rows:
    """Rows of a level that has all as rows of all nodes; the same memory."""
    with functions_off():
        return with_space(x.streamed if isinstance(x, RowsOnDisk) else x.as_subclass(Tensor), level.parent)


def _backwards(edges: Edges, wanted: Tensor, num_layers: int) -> list[tuple[Tensor, int]]:
    """Per level, which own rows belong to it, and how many rows of all ranks."""
    halo, view, num_nodes = edges.halo, edges.view, edges.dst_space.num_rows
    levels = [(wanted, int(view.sum(wanted.sum())))]
    for _ in range(num_layers):
        is_read, num_read = levels[0]
        if num_read < num_nodes:
            is_source = torch.zeros(halo.num_extended, dtype=torch.int32, device=wanted.device)
            src, dst = edges.ends()
            is_source[src[is_read[dst]]] = 1
            is_read = is_read | (without_halo(is_source, halo) > 0)
            num_read = int(view.sum(is_read.sum()))
        if num_read >= NEARLY_ALL * num_nodes:
            is_read, num_read = torch.ones_like(is_read), num_nodes
        levels.insert(0, (is_read, num_read))
    return levels


def _step(edges: Edges, is_read: Tensor, is_computed: Tensor) -> Step:
    halo = edges.halo
    num_read = int(is_read.sum())
    place = is_read.cumsum(0) - 1
    places = with_halo(place, halo)
    used = torch.zeros(halo.num_extended, dtype=torch.bool, device=is_read.device)
    src, dst = edges.ends()
    used[src[is_computed[dst]]] = True
    # A rank's halo rows are in its order, and a level keeps that order.
    bounds = (halo.offsets + halo.num_own).tolist()
    needed = tuple(places[a:b][used[a:b]] for a, b in pairwise(bounds))
    return Step(
        halo=Halo.connect(halo.world, halo.config, num_read, needed),
        is_computed=is_computed,
        new_ids=torch.cat([place, num_read + used[halo.num_own :].cumsum(0) - 1]).int(),
        place=(is_computed.cumsum(0) - 1).int(),
    )
