"""The way from ids to the rows that they name, wherever these lie, and back: what reading by ids is made of."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from fullgraph.comm import Routes
from fullgraph.engine import Halo, with_halo, without_halo
from fullgraph.rows.space import Space
from fullgraph.rows.tensor import Rows, local
from fullgraph.rows.view import View


class Here:
    """Positions whose rows this rank has, and is known to have on all ranks: ``local`` int64 ``[m]`` are these rows."""

    has_negative = False

    def __init__(self, local: Tensor):
        self.local = local

    def fetch(self, rows: Tensor) -> Tensor:
        """The row at each position: ``[num_own, …]`` to ``[m, …]``, differentiable."""
        return rows.index_select(0, self.local)

    def ship(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """A value for each position at the rank that has its row: the values, and the local rows they belong to."""
        return values, self.local

    def add(self, values: Tensor, num_own: int) -> Tensor:
        """The sum of the values of each row: ``[m, …]`` to ``[num_own, …]``, differentiable."""
        return values.new_zeros((num_own, *values.shape[1:])).index_add(0, self.local, values)


@dataclass(eq=False)
class Away:
    """Positions whose rows may be anywhere: extended ids of a halo. All methods as of `Here`, and collective.

    Attributes:
        view: the ranks.
        halo: own rows and those that positions lead to.
        extended: int64 ``[m]``, the place of each position's row in ``[own rows; halo rows]``.
        has_negative: whether some positions, of any rank, count from the end.
    """

    view: View
    halo: Halo
    extended: Tensor
    has_negative: bool = False

    @classmethod
    def to(cls, space: Space, positions: Tensor) -> "Away":
        """The way to ``positions`` int64 ``[m]`` of ``space``; negative ones count from the end. Collective.

        Raises:
            IndexError: on all ranks, if one is out of range.
        """
        view, world = space.view, space.view.world
        n = space.num_rows
        from_end = positions < 0
        found = torch.stack([((positions < -n) | (positions >= n)).any(), from_end.any()])
        is_wrong, has_negative = view.max(found).tolist()
        if is_wrong:
            raise IndexError(f"an index is out of range for {n} rows")
        positions = torch.where(from_end, positions + n, positions)
        distinct, inverse = positions.unique(return_inverse=True)
        owner, local = space.locate(distinct)
        place, needed, extended = space.num_own, [], local.clone()
        for rank in range(world.num_ranks):
            of_rank = (owner == rank).nonzero().squeeze(1) if rank != world.rank else distinct.new_zeros(0)
            by_row = of_rank[local[of_rank].argsort()]
            needed.append(local[by_row])
            extended[by_row] = torch.arange(place, place + len(by_row), device=extended.device)
            place += len(by_row)
        halo = Halo.connect(world, view.config, space.num_own, tuple(needed))
        return cls(view, halo, extended[inverse], has_negative)

    def fetch(self, rows: Tensor) -> Tensor:
        self.view.check()
        return _as_bytes(lambda x: with_halo(x.contiguous(), self.halo, packs=True), rows).index_select(
            0, self.extended
        )

    def ship(self, values: Tensor) -> tuple[Tensor, Tensor]:
        self.view.check()
        halo, kept, local = self._shipping
        together = _as_bytes(lambda x: with_halo(x.contiguous(), halo), values)
        return together.index_select(0, kept), local  # cat would cut the graph of no values

    def add(self, values: Tensor, num_own: int) -> Tensor:
        self.view.check()
        total = values.new_zeros((self.halo.num_extended, *values.shape[1:])).index_add(0, self.extended, values)
        return without_halo(total, self.halo)

    @cached_property
    def _shipping(self) -> tuple[Halo, Tensor, Tensor]:
        """Routes that bring values to owners; those that stay here and those that come; the rows that they are for."""
        halo, world = self.halo, self.view.world
        foreign = self.extended - halo.num_own
        owner = torch.searchsorted(halo.offsets, foreign, right=True) - 1
        sends, rows = [], []
        for rank in range(world.num_ranks):
            chosen = ((foreign >= 0) & (owner == rank)).nonzero().squeeze(1)
            sends.append(chosen)
            rows.append(halo.needed[rank][foreign[chosen] - halo.offsets[rank]])
        told = self.view.swap(rows)
        own = (foreign < 0).nonzero().squeeze(1)
        routes = Routes.giving(world, tuple(sends))
        ways = Halo(len(self.extended), (), routes, halo.config)
        others = [r for rank, r in enumerate(told) if rank != world.rank]
        come = torch.arange(len(self.extended), ways.num_extended, device=own.device)
        return ways, torch.cat([own, come]), torch.cat([self.extended[own], *others])


Route = Here | Away


def _as_bytes(move, x: Tensor) -> Tensor:
    """Ranks exchange numbers, not bools."""
    return move(x.to(torch.uint8)).bool() if x.dtype == torch.bool else move(x)


# -- ids among rows, and the ways to the rows that they name, kept with them for as long as they do not change


def way(ids: Tensor, space: Space) -> Route:
    """The way to the rows of ``space`` at ``ids``, integer `Rows` of one dimension. Collective, unless it is known."""
    if ids.is_inference():  # nothing tells whether they have changed
        return Away.to(space, local(ids).long())
    known = ways_of(ids).get(space)
    if known is not None and known[0] == ids._version:
        return known[1]
    route = Away.to(space, local(ids).long())
    ways_of(ids)[space] = (ids._version, route)
    return route


def ways_of(ids: Tensor) -> dict[Space, tuple[int, Route]]:
    """The ways that are known for ids: for each space the version of the ids, and the way."""
    return vars(ids).setdefault("_ways", {})


def with_ways(ids: Tensor, like: Tensor, part: tuple[int, ...] = ()) -> Tensor:
    """``ids``, a view that repeats or reshapes those of ``like`` row by row, knowing the ways that ``like`` knows.

    A view of one ``part`` of them knows the ways that are known for it, however often it is read.
    """
    if isinstance(ids, Rows) and not like.is_floating_point() and ids._is_view():
        of_parts = vars(like).setdefault("_ways_of_parts", {}) if part else {}
        vars(ids)["_ways"] = of_parts.setdefault(part, {}) if part else ways_of(like)
    return ids


def with_ways_of_copy(ids: Rows, like: Rows) -> Rows:
    """``ids``, a copy that repeats the ids of ``like`` row by row, knowing the ways that ``like`` knows now."""
    if not (like.is_floating_point() or like.is_inference() or ids.is_inference()):
        known = {space: route for space, (version, route) in ways_of(like).items() if version == like._version}
        vars(ids)["_ways"] = {space: (ids._version, route) for space, route in known.items()}
    return ids
