"""The rows that a loss over some nodes depends on, layer by layer: message-flow pruning of a partitioned graph.

Without it every layer computes all rows, however few of them the loss reads. A *level* is the set of rows that stand
between two layers: level `num_layers` holds the wanted rows, level k the rows of level k + 1 and all sources of their
in-edges (the message flow graphs of SAR; Mostafa, MLSys 2022). Layer k reads the rows of level k and computes those of
level k + 1. Levels are nested, and a rank keeps its rows of each in its own order.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor

from fullgraph.engine import Halo, with_halo, without_halo
from fullgraph.pyg.index import RemoteIndex
from fullgraph.pyg.rank_graph import RankRelation


@dataclass(frozen=True)
class Layer:
    """What one layer walks over.

    Attributes:
        relation: from this rank's rows of level k to those of level k + 1.
        is_computed: bool ``[num_own]``, the rows of level k + 1.
        new_ids: int64 ``[num_extended]``, extended ids of the whole relation to those of this one; what has none
            here holds any number.
        place: int64 ``[num_own]``, where each row of level k + 1 stands among these; any number for the others.
    """

    relation: RankRelation
    is_computed: Tensor
    new_ids: Tensor
    place: Tensor


class LevelIndex(RemoteIndex):
    """The in-edges of one level's rows, from rows of the level before.

    Self-loops, norms and whatever else reads the whole graph were taken care of before it was restricted. What most
    layers do not ask for is not kept: on a dense graph it would take as much memory as the edges.

    Attributes:
        walked: the index that it was restricted from.
        layer: to what.
    """

    walked: RemoteIndex
    layer: Layer

    @staticmethod
    def of(walked: RemoteIndex, layer: Layer) -> "LevelIndex":
        """Those edges of ``walked`` that lead into rows that ``layer`` computes."""
        src, dst = (row[layer.is_computed[walked.plain[1]]] for row in walked.plain)
        index = torch.Tensor._make_subclass(LevelIndex, torch.stack([layer.new_ids[src], layer.place[dst]]))
        index.relation, index.remote_row, index.walked, index.layer = layer.relation, 0, walked, layer
        return index

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


@dataclass(frozen=True)
class Levels:
    """Which rows every layer reads and computes.

    Attributes:
        rows: per level, int64, the rows of this rank, ascending; ``num_layers + 1`` levels.
        node_ids: per level, int64, their original ids.
        num_rows: per level, rows of all ranks.
        layers: per layer, what it walks over.
    """

    rows: tuple[Tensor, ...]
    node_ids: tuple[Tensor, ...]
    num_rows: tuple[int, ...]
    layers: tuple[Layer, ...]
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
        masks = _backwards(index, wanted, num_layers)
        relation = index.relation
        rows = tuple(torch.nonzero(mask).squeeze(1) for mask in masks)
        counts = torch.tensor([len(r) for r in rows], device=wanted.device)
        return cls(
            rows=rows,
            node_ids=tuple(relation.dst_ids[r] for r in rows),
            num_rows=tuple(relation.graph.world.all_reduce(counts).tolist()),
            layers=tuple(_layer(index, masks[k], masks[k + 1]) for k in range(num_layers)),
        )

    def positions(self, level: int, lower: int) -> Tensor:
        """Where the rows of level ``lower >= level`` stand among those of ``level``, int64."""
        if (level, lower) not in self._positions:
            self._positions[level, lower] = torch.searchsorted(self.rows[level], self.rows[lower])
        return self._positions[level, lower]

    def restricted(self, walked: RemoteIndex, layer: int) -> LevelIndex:
        """Those edges of ``walked`` that a layer needs; made once.

        ``walked`` has edges of the index that the levels belong to, and self-loops.
        """
        key = (id(walked), layer)
        if key not in self._restricted:
            self._restricted[key] = LevelIndex.of(walked, self.layers[layer])
        return self._restricted[key]


def _backwards(index: RemoteIndex, wanted: Tensor, num_layers: int) -> list[Tensor]:
    """Per level, which own rows belong to it."""
    (src, dst), halo = index.plain, index.relation.halo
    masks = [wanted]
    for _ in range(num_layers):
        is_source = torch.zeros(halo.num_extended, dtype=torch.int32, device=src.device)
        is_source[src[masks[0][dst]]] = 1
        masks.insert(0, masks[0] | (without_halo(is_source, halo) > 0))
    return masks


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
    new_ids = torch.cat([place, num_read + used[halo.num_own :].cumsum(0) - 1])
    return Layer(
        relation=replace(
            relation,
            halo=Halo.connect(world, halo.config, num_read, needed),
            dst_ids=relation.dst_ids[is_computed],
            square=False,
        ),
        is_computed=is_computed,
        new_ids=new_ids,
        place=is_computed.cumsum(0) - 1,
    )
