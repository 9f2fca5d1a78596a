"""The edges of one relation as the engine walks over them: those into rows that this rank has, on plain tensors.

Their sources are extended ids (`engine.Halo`): own rows first, then the rows of other ranks that these edges need. So
whatever is grouped by destination is on this rank, and global already.
"""

from collections.abc import Callable, Hashable
from functools import cached_property
from typing import Any, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from fullgraph.engine import Halo, Neighbourhood, Plan, neighbourhoods, with_halo
from fullgraph.rows import Away, Here, Space, View
from fullgraph.rows.recent import Recent
from fullgraph.rows.space import Joined, Subset

Made = TypeVar("Made")

MOST_EDGES = 2**31 - 1
"""Of one relation on one rank: their places are numbered in 32 bits."""


class Edges:
    """In-edges of own rows; immutable.

    Their ids are in memory from the moment that a program reads them. Layers walk, and walks are built without.

    Attributes:
        space: the edges' row space.
        src_space: of the rows that they start from.
        dst_space: of the rows that they lead to.
        halo: own source rows and those needed from elsewhere.
    """

    def __init__(
        self,
        space: Space,
        src_space: Space,
        dst_space: Space,
        halo: Halo,
        make_ends: Callable[[], tuple[Tensor, Tensor]],
    ):
        """``make_ends``: gives what `ends` does, each time that it is called; it refers to no `Edges`, or what one
        derives from another would outlive it."""
        self.space, self.src_space, self.dst_space = space, src_space, dst_space
        self.halo, self.ends = halo, make_ends
        self._chosen: Recent[Edges] = Recent(2 * space.num_rows)

    @property
    def view(self) -> View:
        """The ranks."""
        return self.space.view

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.space.device

    @property
    def num_src(self) -> int:
        """Source rows that this rank has."""
        return self.src_space.num_own

    @property
    def num_dst(self) -> int:
        """Destination rows that this rank has."""
        return self.dst_space.num_own

    @property
    def is_square(self) -> bool:
        """Whether sources and destinations are the same rows, so that self-loops mean something."""
        return self.src_space == self.dst_space

    @property
    def keys(self) -> Tensor:
        """What draws for edges are keyed by, int64 ``[num_own]``."""
        return self.space.keys

    @cached_property
    def plan(self) -> Plan:
        """The walks over these edges."""
        return Plan(self.halo, self.ends, self.space.num_own, self.num_dst)

    @cached_property
    def neighbourhoods(self) -> list[Neighbourhood]:
        """Complete neighbourhoods of all own rows, a bounded number of edges each. Collective the first time."""
        return neighbourhoods(self.plan, self.view.config.chunk_edges, self.space.positions)

    @cached_property
    def places_by_destination(self) -> Tensor:
        """Where each edge stands when one neighbourhood follows another, int64 ``[num_own]``."""
        order = torch.cat([run.edge_ids for run in self.neighbourhoods])
        return torch.empty_like(order).index_copy_(0, order, torch.arange(len(order), device=order.device))

    # What a program reads of them: ids of the whole graph, made when they are asked for.

    @cached_property
    def src(self) -> Tensor:
        """Each edge's source as an extended id, int64 ``[num_own]``."""
        return self.ends()[0].long()

    @cached_property
    def dst(self) -> Tensor:
        """Each edge's destination among this rank's rows, int64 ``[num_own]``."""
        return self.ends()[1].long()

    def unread(self) -> "Edges":
        """The same edges, whose ids go with it when they have been read."""
        return Edges(self.space, self.src_space, self.dst_space, self.halo, self.ends)

    @cached_property
    def src_ids(self) -> Tensor:
        """Original ids of the sources, int64 ``[num_own]``. Collective the first time."""
        return with_halo(self.src_space.positions, self.halo)[self.src]

    @property
    def dst_ids(self) -> Tensor:
        """Original ids of the destinations, int64 ``[num_own]``."""
        return self.dst_space.positions[self.dst]

    @cached_property
    def way_to_src(self) -> Away:
        """From rows of the sources' space to each edge's source."""
        return Away(self.view, self.halo, self.src, has_negative=False)

    @cached_property
    def way_to_dst(self) -> Here:
        """From rows of the destinations' space to each edge's destination."""
        return Here(self.dst)

    # Layers derive the same few sets of edges in every forward, and each has walks to build.

    def find_no_loops(self) -> Tensor:
        """Which edges join two rows, bool ``[num_own]``; an own row's extended id is its own."""
        return _no_loops(self.ends)

    @cached_property
    def without_self_loops(self) -> "Edges":
        """The edges that join two rows. Collective the first time."""
        count, key = self.space.named(self.find_no_loops().nonzero().squeeze(1))
        if count == self.space.num_rows:
            return self
        return self.chosen(self.space.remembered(key, lambda: _NoLoops(self, count, key)))

    @cached_property
    def with_loops_appended(self) -> "Edges":
        """These edges and then one self-loop for each row."""
        nodes = self.dst_space

        def loops() -> tuple[Tensor, Tensor]:
            own = torch.arange(nodes.num_own, dtype=torch.int32, device=nodes.device)
            return own, own

        return self.followed_by(nodes, loops)

    @property
    def with_self_loops(self) -> "Edges":
        """These edges with every self-loop replaced by exactly one for each row, at the end, as PyG orders them."""
        return self.without_self_loops.with_loops_appended

    def followed_by(self, space: Space, ends: Callable[[], tuple[Tensor, Tensor]]) -> "Edges":
        """These edges and then others, of the row space ``space``, between the same rows over the same halo."""
        first = self.ends

        def both() -> tuple[Tensor, Tensor]:
            (src, dst), (more_src, more_dst) = first(), ends()
            return torch.cat([src, more_src]), torch.cat([dst, more_dst])

        return Edges(Joined((self.space, space)), self.src_space, self.dst_space, self.halo, both)

    def chosen(self, space: Any) -> "Edges":
        """Some of these edges: a space derived from theirs, with ``chosen`` local rows; made once for equal spaces."""
        known = self._chosen.get(space.key)
        if known is not None:
            return known
        of_all = self.ends

        def ends() -> tuple[Tensor, Tensor]:
            (src, dst), at = of_all(), space.chosen
            return src[at], dst[at]

        made = Edges(space, self.src_space, self.dst_space, self.halo, ends)
        return self._chosen.put(space.key, made, space.num_rows)

    def narrowed(self) -> "Edges":
        """The same edges over a halo of the rows that these need alone: a walk sends no other row. Collective."""
        if self.view.is_alone:
            return self
        halo, (src, dst) = self.halo, self.ends()
        src = src.clone()
        foreign = src >= halo.num_own
        used = torch.unique(src[foreign]) - halo.num_own
        cuts = torch.searchsorted(used, halo.offsets)
        needed = tuple(
            there[used[cuts[rank] : cuts[rank + 1]] - halo.offsets[rank]] for rank, there in enumerate(halo.needed)
        )
        src[foreign] = (halo.num_own + torch.searchsorted(used, src[foreign] - halo.num_own)).to(src.dtype)
        smaller = Halo.connect(self.view.world, halo.config, halo.num_own, needed)
        return Edges(self.space, self.src_space, self.dst_space, smaller, lambda: (src, dst))

    @cached_property
    def reversed(self) -> "Edges":
        """The same edges from their destinations to their sources, each where its new destination is. Collective."""
        return settled(self.space, self.dst_ids, self.src_ids, self.dst_space, self.src_space)

    def constant(self, name: Hashable, given: Tensor | None, make: Callable[[], Made]) -> Made:
        """``make()``, remembered under ``name`` for as long as the tensor it is made from is the same.

        ``given`` is that tensor, or None if the edges alone decide; see `Memo.latest`.
        """
        return self.plan.memo.latest((name, given is None), make, given)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


def settled(space: Space, src_ids: Tensor, dst_ids: Tensor, src_space: Space, dst_space: Space) -> Edges:
    """Edges given by ids of the whole graph, each brought to the rank that has its destination. Collective.

    Args:
        space: the edges' row space.
        src_ids: int64 ``[num_own]``, positions in ``src_space``.
        dst_ids: int64 ``[num_own]``, positions in ``dst_space``.
        src_space: of the rows that they start from.
        dst_space: of the rows that they lead to.

    Raises:
        IndexError: on all ranks, if an id is out of range.
    """
    view, num_ranks = space.view, space.view.world.num_ranks
    src_ids, dst_ids = _in_range(src_ids, src_space), _in_range(dst_ids, dst_space)
    owner, dst = dst_space.locate(dst_ids)
    if bool(view.max((owner != view.world.rank).any().view(1))):
        order = owner.argsort(stable=True)
        told = torch.stack([src_ids, dst, space.positions], 1)[order]
        heard = torch.cat(view.swap(list(told.split(torch.bincount(owner, minlength=num_ranks).tolist()))))
        src_ids, dst, positions = heard[heard[:, 2].argsort()].unbind(1)
        space = Space(view, space.num_rows, len(dst), ("settled", space.key, view.new_number()), positions)
    way = Away.to(src_space, src_ids)
    return Edges(space, src_space, dst_space, way.halo, held(way.extended, dst))


def held(src: Tensor, dst: Tensor) -> Callable[[], tuple[Tensor, Tensor]]:
    """Ends of edges that are known from memory alone, as `Edges` makes them: held in 8 bytes per edge."""
    src, dst = src.to(torch.int32), dst.to(torch.int32)
    return lambda: (src, dst)


def _no_loops(ends: Callable[[], tuple[Tensor, Tensor]]) -> Tensor:
    src, dst = ends()
    return src != dst


class StoredEdges(Space):
    """Edges whose places among all are read when they are asked for."""

    forgets = True

    def __init__(self, view: View, num_rows: int, num_own: int, key: Hashable, read: Callable[[], np.ndarray]):
        """``read``: gives the places, int64 ``[num_own]``."""
        super().__init__(view, num_rows, num_own, key)
        self._read = read

    def _find_positions(self) -> Tensor:
        return torch.from_numpy(self._read()).to(self.device)


class _NoLoops(Subset):
    """The edges that join two rows, in order; which these are is found where it is asked, unless a program knows it."""

    forgets = True

    def __init__(self, edges: Edges, num_rows: int, key: Hashable):
        Space.__init__(self, edges.view, num_rows, int(edges.find_no_loops().sum()), key)
        self.parent, self._ends = edges.space, edges.ends
        self._known: Tensor | None = None

    @property
    def chosen(self) -> Tensor:
        """Places among the edges that they are chosen from."""
        return _no_loops(self._ends).nonzero().squeeze(1) if self._known is None else self._known

    @chosen.setter
    def chosen(self, chosen: Tensor) -> None:
        self._known = chosen


def _in_range(ids: Tensor, space: Space) -> Tensor:
    wrong = ((ids < 0) | (ids >= space.num_rows)).any().view(1)
    if bool(space.view.max(wrong)):
        raise IndexError(f"an edge leads to a row that is out of range for {space.num_rows} rows")
    return ids
