"""Row spaces: which rows of the whole graph a tensor's local rows are, so that two tensors that meet know whether they
fit.

A space numbers all rows of the whole graph from 0 on, in the order that one process would have, and each rank has some
of these positions, in any order. Spaces are compared by their keys, which are the same on all ranks, so that a mask
made anew in every epoch leads to the same space.
"""

from collections.abc import Callable, Hashable
from functools import cached_property
from typing import Any, Self
from weakref import ref

import torch
from torch import Tensor

from fullgraph.engine import hashed
from fullgraph.rows.homes import locate, ranks_among
from fullgraph.rows.recent import Recent
from fullgraph.rows.view import View


class Count(int):
    """A number of rows of the whole graph that remembers of which space; arithmetic makes a plain int of it."""

    space: "Space"

    def __new__(cls, space: "Space") -> Self:
        count = super().__new__(cls, space.num_rows)
        count.space = space
        return count

    def __reduce__(self) -> Any:
        return int, (int(self),)

    def __deepcopy__(self, memo: dict[int, Any]) -> int:
        return int(self)

    def __copy__(self) -> int:
        return int(self)


class Space:
    """All rows of one kind; this one is given its positions, others derive theirs.

    Attributes:
        view: the ranks.
        num_rows: rows of all ranks.
        num_own: rows of this rank.
        key: what the rows are, the same on all ranks; equal for equal rows.
        chosen: of some rows of another space, that one's local rows of those that this rank has.
        forgets: whether positions that are needed for once are found again when they are needed again.
    """

    chosen: Any
    forgets = False

    def __init__(self, view: View, num_rows: int, num_own: int, key: Hashable, positions: Tensor | None = None):
        self.view, self.num_rows, self.num_own, self.key = view, num_rows, num_own, key
        self._given = positions
        self._of_masks: dict[int, tuple[ref[Tensor], int, Space]] = {}
        self._derived: Recent[Space] = Recent(8 * num_rows + 4096)

    @property
    def device(self) -> torch.device:
        """Where the rows are."""
        return self.view.world.device

    @cached_property
    def count(self) -> Count:
        """``num_rows``, knowing its space."""
        return Count(self)

    @cached_property
    def positions(self) -> Tensor:
        """The place of each own row among all rows, int64 ``[num_own]``. May be collective the first time."""
        return self._find_positions()

    def _find_positions(self) -> Tensor:
        """The given ones; spaces that are given none find theirs from others."""
        assert self._given is not None
        return self._given

    @property
    def keys(self) -> Tensor:
        """What draws for own rows are keyed by, int64 ``[num_own]``: the same wherever a row lies."""
        return self.positions

    @cached_property
    def is_identity(self) -> bool:
        """Whether this rank has all rows, in order."""
        if self.num_own != self.num_rows:
            return False
        return bool((self.positions_for_once() == torch.arange(self.num_rows, device=self.device)).all())

    @cached_property
    def _sorted(self) -> tuple[Tensor, Tensor]:
        return self.positions.sort()

    def find(self, positions: Tensor) -> Tensor:
        """The local row at each of some positions, int64 like ``positions``; -1 where another rank has it."""
        if self.is_identity:
            return positions
        values, order = self._sorted
        if not len(values):
            return torch.full_like(positions, -1)
        place = torch.searchsorted(values, positions).clamp(max=len(values) - 1)
        return torch.where(values[place] == positions, order[place], -1)

    def localize(self, everywhere: Tensor, dim: int) -> Tensor:
        """This rank's rows of a tensor that has all of them along ``dim``."""
        if self.is_identity:
            return everywhere
        return everywhere.index_select(dim, self.positions.to(everywhere.device))

    def locate(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """The rank that has each of some positions, and its local row there, int64 each. Collective."""
        if self.view.is_alone:
            return torch.zeros_like(positions), self.find(positions)
        return locate(self.view, self.key, self.num_rows, self.positions, positions)

    def subset(self, mask: Tensor, own: Callable[[], Tensor] | None = None) -> "Space":
        """The rows where the own rows' ``mask`` (bool ``[num_own]``) is true. One small sum over ranks.

        Remembered for as long as the mask is the same object, unchanged, on this rank: a mask is changed by a program,
        so on all ranks at once. Where it is not of the own rows, ``own`` gives these.
        """
        known = self._of_masks.get(id(mask))
        if known is not None and known[0]() is mask and known[1] == mask._version:
            return known[2]
        plain = (mask if own is None else own()).detach().as_subclass(Tensor)
        space = self._subset(plain.nonzero().squeeze(1))
        if not mask.is_inference():
            of_masks, place = self._of_masks, id(mask)
            of_masks[place] = (ref(mask, lambda _: of_masks.pop(place, None)), mask._version, space)
        return space

    def _subset(self, chosen: Tensor) -> "Space":
        count, key = self.named(chosen)
        if count == self.num_rows:
            return Subset(self, count, chosen, self.key)  # all of them, in the same places
        space = self.remembered(key, lambda: Subset(self, count, chosen, key))
        space.chosen = chosen  # which one that was made without would find anew each time
        return space

    def named(self, chosen: Tensor) -> tuple[int, Hashable]:
        """Of the subset with these own rows: its rows on all ranks, and its key. One small sum over ranks."""
        content = hashed(self.positions_for_once()[chosen]).sum()
        count, content = self.view.sum(torch.stack([torch.full_like(content, len(chosen)), content])).tolist()
        return count, ("subset", self.key, count, content)

    def positions_for_once(self) -> Tensor:
        """As `positions`, which need not stay in memory for this."""
        return self._find_positions() if self.forgets and "positions" not in self.__dict__ else self.positions

    def at(self, positions: Tensor) -> "Space":
        """The rows at some positions, int64 ``[k]``, the same on all ranks; each is where its row is.

        Raises:
            IndexError: if one is out of range.
        """
        plain = positions.detach().as_subclass(Tensor).to(self.device)
        if len(plain) and not (-self.num_rows <= int(plain.min()) and int(plain.max()) < self.num_rows):
            raise IndexError(f"an index is out of range for {self.num_rows} rows: {plain.tolist()[:5]} …")
        plain = torch.where(plain < 0, plain + self.num_rows, plain)
        content = int(hashed(plain * 0x2545F491 + torch.arange(len(plain), device=plain.device)).sum())
        key = ("at", self.key, len(plain), content)
        return self.remembered(key, lambda: Listed(self, plain, key))

    def sliced(self, start: int, stop: int, step: int) -> "Space":
        """The rows ``start:stop:step``, ``step`` > 0."""
        if (start, stop, step) == (0, self.num_rows, 1):
            return self
        key = ("slice", self.key, start, stop, step)

        def make() -> Space:
            at = self.positions
            chosen = ((at >= start) & (at < stop) & ((at - start) % step == 0)).nonzero().squeeze(1)
            return Chosen(self, len(range(start, stop, step)), chosen, key, (at[chosen] - start) // step)

        return self.remembered(key, make)

    def times(self, columns: int) -> "Space":
        """The entries of ``[num_rows, columns]``, row by row."""
        key = ("times", self.key, columns)
        return self.remembered(key, lambda: Times(self, columns, key))

    def rows_of(self, other: "Space") -> Tensor | slice | None:
        """Which of this rank's rows of ``other`` these are, where rows of the two meet as rows of this space.

        None if they do not: then they meet only where they are equally many, by position.
        """
        return None

    def piece(self, chosen: Tensor | slice, num_own: int) -> "Space":
        """Some of this rank's rows, which pass for all: the number of rows and the key stay the whole graph's."""
        return Piece(self, chosen, num_own)

    def remembered(self, key: Hashable, make: Any) -> "Space":
        """The space of this key, made once."""
        known = self._derived.get(key)
        if known is None:
            known = make()
            self._derived.put(key, known, known.num_rows + 1)
        return known

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Space) and self.view is other.view and self.key == other.key)

    def __hash__(self) -> int:
        return hash(self.key)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.key!r}: {self.num_own} of {self.num_rows} rows)"


class Chosen(Space):
    """Some rows of another space, its parent."""

    def __init__(self, parent: Space, num_rows: int, chosen: Tensor, key: Hashable, positions: Tensor | None = None):
        super().__init__(parent.view, num_rows, len(chosen), key, positions)
        self.parent, self.chosen = parent, chosen

    @cached_property
    def keys(self) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """As the parent's."""
        return self.parent.keys[self.chosen]


class Subset(Chosen):
    """The rows that a mask chooses, in order."""

    def _find_positions(self) -> Tensor:
        return ranks_among(self.view, self.parent.positions_for_once()[self.chosen], self.parent.num_rows)


class Listed(Space):
    """The rows at listed positions; ``chosen`` are the parent's local rows of those that this rank has."""

    def __init__(self, parent: Space, listed: Tensor, key: Hashable):
        local = parent.find(listed)
        places = (local >= 0).nonzero().squeeze(1)
        super().__init__(parent.view, len(listed), len(places), key, places)
        self.parent, self.chosen = parent, local[places]


class Times(Space):
    """The entries of a matrix, row by row."""

    def __init__(self, parent: Space, columns: int, key: Hashable):
        super().__init__(parent.view, parent.num_rows * columns, parent.num_own * columns, key)
        self.parent, self.columns = parent, columns

    def _find_positions(self) -> Tensor:
        columns = torch.arange(self.columns, device=self.parent.positions.device)
        return (self.parent.positions[:, None] * self.columns + columns).reshape(-1)


class Joined(Space):
    """The rows of several spaces, one after another."""

    def __init__(self, parts: tuple[Space, ...]):
        num_rows, num_own = sum(p.num_rows for p in parts), sum(p.num_own for p in parts)
        super().__init__(parts[0].view, num_rows, num_own, ("joined", *(p.key for p in parts)))
        self.parts = parts

    def _find_positions(self) -> Tensor:
        first, found = 0, []
        for part in self.parts:
            found.append(part.positions_for_once() + first)
            first += part.num_rows
        return torch.cat(found)


class Shared(Space):
    """Rows that every rank has, dealt out in equal runs so that they can stand among others."""

    def __init__(self, view: View, num_rows: int):
        rank, num_ranks = view.world.rank, view.world.num_ranks
        own = torch.arange(num_rows * rank // num_ranks, num_rows * (rank + 1) // num_ranks, device=view.world.device)
        super().__init__(view, num_rows, len(own), ("shared", num_rows), own)


class Piece(Chosen):
    """Some own rows of a space, which pass for all of its rows while a layer works on them."""

    def __init__(self, base: Space, chosen: Tensor | slice, num_own: int):
        Space.__init__(self, base.view, base.num_rows, num_own, ("piece", base.key))
        self.parent, self.chosen = base, chosen

    def _find_positions(self) -> Tensor:
        return self.parent.positions[self.chosen]

    def times(self, columns: int) -> Space:
        """Of these rows; equal to no other's, as the piece itself."""
        return self.remembered(("times", columns), lambda: Times(self, columns, ("times", object(), columns)))

    def rows_of(self, other: Space) -> Tensor | slice | None:
        """Of the space that it is a piece of, and of those that meet that one."""
        if other == self.parent:
            return self.chosen
        meets = self.parent.rows_of(other)
        return meets[self.chosen] if isinstance(meets, Tensor) else self.chosen if meets is not None else None

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__  # pyright: ignore[reportAssignmentType]
