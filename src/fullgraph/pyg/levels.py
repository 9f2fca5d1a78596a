"""The rows that a loss over some nodes depends on, layer by layer: message-flow pruning of a partitioned graph.

Without it every layer computes all rows, however few of them the loss reads. A *level* is the set of rows that stand
between two layers: level `num_layers` holds the wanted rows, level k the rows of level k + 1 and all sources of their
in-edges (the message flow graphs of SAR; Mostafa, MLSys 2022). Layer k reads the rows of level k and computes those of
level k + 1. Levels are nested, and a rank keeps its rows of each in its own order.

A level that would have nearly all rows has all of them. A layer that computes all rows walks over the graph's own
edges, as without pruning, and all such layers share one walk; edges of its own would take more memory than the few rows
save.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor

from fullgraph.engine import Halo, Plan, with_halo, without_halo
from fullgraph.pyg.index import RemoteIndex
from fullgraph.pyg.rank_graph import RankRelation

NEARLY_ALL = 0.75
"""Share of all rows from which on a level has all. The edges of a layer's own and their walks take up to 24 bytes per
edge, the walks over the graph's own edges, which one layer or several need, 16."""

_EDGES_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Layer:
    """What a layer walks over that computes some rows only.

    Attributes:
        relation: from this rank's rows of level k to those of level k + 1.
        is_computed: bool ``[num_own]``, the rows of level k + 1.
        new_ids: int32 ``[num_extended]``, extended ids of the whole relation to those of this one; what has none
            here holds any number.
        place: int32 ``[num_own]``, where each row of level k + 1 stands among these; any number for the others.
    """

    relation: RankRelation
    is_computed: Tensor
    new_ids: Tensor
    place: Tensor


class LevelIndex(RemoteIndex):
    """The in-edges of one level's rows, from rows of the level before.

    Self-loops, norms and whatever else reads the whole graph were taken care of before it was restricted. What most
    layers do not ask for is not kept: on a dense graph it would take as much memory as the edges. The tensor itself has
    no memory; its numbers are kept in half of what int64 needs, for walks, and others are made from these.

    Attributes:
        walked: the index that it was restricted from.
        layer: to what.
        ids: int32 ``[2, num_edges]``.
    """

    walked: RemoteIndex
    layer: Layer
    ids: Tensor

    @staticmethod
    def of(walked: RemoteIndex, layer: Layer) -> "LevelIndex":
        """Those edges of ``walked`` that lead into rows that ``layer`` computes."""
        ids = _restricted_ids(walked, layer)
        index = torch.Tensor._make_subclass(LevelIndex, ids.new_zeros((), dtype=torch.int64).expand(ids.shape))
        index.relation, index.remote_row, index.walked, index.layer = layer.relation, 0, walked, layer
        index.ids = ids
        return index

    @property
    def plain(self) -> Tensor:
        """As every index has it, made anew."""
        return self.ids.long()

    @cached_property
    def plan(self) -> Plan:  # pyright: ignore[reportIncompatibleVariableOverride]
        """As every index has it."""
        src, dst = self.ids
        return Plan(self.relation.halo, src, dst, self.relation.num_dst)

    @cached_property
    def edge_keys(self) -> Tensor | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """As every index has them."""
        return None if self.walked.edge_keys is None else self._of_walked(self.walked.edge_keys)

    def chosen(self, values: Tensor) -> Tensor:
        """The rows of a tensor with a row per edge of ``walked`` that belong to these edges. Collective.

        Those of constants are made once, since walks send them to other ranks.
        """
        return self.constant("chosen", values, lambda: self._of_walked(values))

    def _of_walked(self, values: Tensor) -> Tensor:
        return values[self.layer.is_computed[self.walked.plain[1]]]


def _restricted_ids(walked: RemoteIndex, layer: Layer) -> Tensor:
    """A few edges at a time: the steps between take several times the memory of the result."""
    pieces = []
    for src, dst in zip(*(row.split(_EDGES_AT_ONCE) for row in walked.plain), strict=True):
        chosen = layer.is_computed[dst]
        pieces.append(torch.stack([layer.new_ids[src[chosen]], layer.place[dst[chosen]]]))
    return torch.cat(pieces, dim=1)


@dataclass(frozen=True)
class Levels:
    """Which rows every layer reads and computes.

    Attributes:
        rows: per level, int64, the rows of this rank, ascending; ``num_layers + 1`` levels.
        node_ids: per level, int64, their original ids.
        num_rows: per level, rows of all ranks.
        layers: per layer, what it walks over; None for one that computes all rows.
    """

    rows: tuple[Tensor, ...]
    node_ids: tuple[Tensor, ...]
    num_rows: tuple[int, ...]
    layers: tuple[Layer | None, ...]
    _restricted: dict[tuple[int, int], LevelIndex] = field(default_factory=dict)
    _positions: dict[tuple[int, int], Tensor] = field(default_factory=dict)

    @property
    def num_layers(self) -> int:
        """Layers between the first level and the last."""
        return len(self.layers)

    @classmethod
    def of(cls, index: RemoteIndex, wanted: Tensor, num_layers: int) -> "Levels":
        """Walk back from the wanted rows, one step per layer. Collective.

        Args:
            index: all in-edges of a homogeneous graph.
            wanted: bool ``[num_own]``, the rows that the last layer computes.
            num_layers: steps.
        """
        masks, counts = zip(*_backwards(index, wanted, num_layers), strict=True)
        rows = tuple(torch.nonzero(mask).squeeze(1) for mask in masks)
        is_whole = [count == _num_nodes(index) for count in counts]
        return cls(
            rows=rows,
            node_ids=tuple(index.relation.dst_ids[r] for r in rows),
            num_rows=counts,
            layers=tuple(None if is_whole[k + 1] else _layer(index, masks[k], masks[k + 1]) for k in range(num_layers)),
        )

    def positions(self, level: int, lower: int) -> Tensor:
        """Where the rows of level ``lower >= level`` stand among those of ``level``, int64."""
        if (level, lower) not in self._positions:
            self._positions[level, lower] = torch.searchsorted(self.rows[level], self.rows[lower])
        return self._positions[level, lower]

    def restricted(self, walked: RemoteIndex, number: int) -> LevelIndex:
        """Those edges of ``walked`` that the layer of this number needs, which computes some rows only; made once.

        ``walked`` has edges of the index that the levels belong to, and self-loops.
        """
        key, layer = (id(walked), number), self.layers[number]
        assert layer is not None
        if key not in self._restricted:
            self._restricted[key] = LevelIndex.of(walked, layer)
        return self._restricted[key]


def _backwards(index: RemoteIndex, wanted: Tensor, num_layers: int) -> list[tuple[Tensor, int]]:
    """Per level, which own rows belong to it, and how many rows of all ranks."""
    (src, dst), halo, num_nodes = index.plain, index.relation.halo, _num_nodes(index)
    levels = [(wanted, int(halo.world.all_reduce(wanted.sum())))]
    for _ in range(num_layers):
        is_read, num_read = levels[0]
        if num_read < num_nodes:
            is_source = torch.zeros(halo.num_extended, dtype=torch.int32, device=src.device)
            is_source[src[is_read[dst]]] = 1
            is_read = is_read | (without_halo(is_source, halo) > 0)
            num_read = int(halo.world.all_reduce(is_read.sum()))
        if num_read >= NEARLY_ALL * num_nodes:
            is_read, num_read = torch.ones_like(is_read), num_nodes
        levels.insert(0, (is_read, num_read))
    return levels


def _num_nodes(index: RemoteIndex) -> int:
    """Rows of all ranks."""
    (count,) = index.graph.num_global_nodes.values()
    return count


def _layer(index: RemoteIndex, is_read: Tensor, is_computed: Tensor) -> Layer:
    (src, dst), relation = index.plain, index.relation
    halo, world = relation.halo, relation.graph.world
    num_read = int(is_read.sum())
    place = is_read.cumsum(0) - 1
    places = with_halo(place, halo)
    used = torch.zeros(halo.num_extended, dtype=torch.bool, device=src.device)
    used[src[is_computed[dst]]] = True
    # A rank's halo rows are in its order, and a level keeps that order.
    bounds = (halo.offsets + halo.num_own).tolist()
    needed = tuple(places[a:b][used[a:b]] for a, b in pairwise(bounds))
    new_ids = torch.cat([place, num_read + used[halo.num_own :].cumsum(0) - 1]).int()
    return Layer(
        relation=replace(
            relation,
            halo=Halo.connect(world, halo.config, num_read, needed),
            dst_ids=relation.dst_ids[is_computed],
            square=False,
        ),
        is_computed=is_computed,
        new_ids=new_ids,
        place=(is_computed.cumsum(0) - 1).int(),
    )
