"""The tensors that a layer's own code works on, sorted by what their rows are, and their gradients in the same places.

A layer that runs piece by piece needs each piece's share of every argument, and adds each piece's gradients up.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any


@dataclass(frozen=True)
class Arguments:
    """Tensors that a layer works on, sorted by what their rows are.

    Attributes:
        src: a row per owned source.
        dst: a row per owned destination.
        edge: a row per edge of the plan.
        shared: anything else that the layer is given: tables, settings.
        read: what the layer reads without being given it: its parameters.
    """

    src: tuple[Any, ...]
    dst: tuple[Any, ...]
    edge: tuple[Any, ...]
    shared: tuple[Any, ...]
    read: tuple[Any, ...]

    @property
    def all(self) -> tuple[Any, ...]:
        """All of them, in this order."""
        return (*self.src, *self.dst, *self.edge, *self.shared, *self.read)

    def like(self, tensors: Iterable[Any]) -> "Arguments":
        """Other things in the same places."""
        others = iter(tensors)
        src, dst, edge, shared, read = (
            tuple(islice(others, len(part))) for part in (self.src, self.dst, self.edge, self.shared, self.read)
        )
        return Arguments(src, dst, edge, shared, read)


@dataclass(frozen=True)
class GradientSums:
    """Where the gradients of all pieces are added: one tensor for each argument that needs one.

    Rows that are sources and destinations at once are one argument in two places: they have one gradient, not two.

    Attributes:
        needs: which arguments need one.
        totals: the sums; an argument that needs none stands for itself.
    """

    needs: Arguments
    totals: Arguments
    _first: list[int]
    _reached: set[int] = field(default_factory=set)

    @classmethod
    def zeros(cls, whole: Arguments, needs: Sequence[bool], first: list[int]) -> "GradientSums":
        """``first``: from `first_places` of the tensors that ``whole`` was saved from."""
        sums: list[Any] = []
        for place, (t, need) in enumerate(zip(whole.all, needs, strict=True)):
            sums.append(t if not need else t.new_zeros(t.shape) if first[place] == place else sums[first[place]])
        return cls(whole.like(needs), whole.like(sums), first)

    def reach(self, found: Sequence[Any]) -> None:
        """Note what depends on a parameter: one gradient for each of ``read`` that needs one, None where nothing does.

        On all ranks alike: what no operation has used gets no gradient, as on one process.
        """
        wanted = [place for place, need in enumerate(self.needs.read) if need]
        self._reached.update(place for place, grad in zip(wanted, found, strict=True) if grad is not None)

    def result(self) -> list[Any]:
        """A gradient per argument; None where none is needed, or where it stands in an earlier place."""
        before_read = len(self.needs.all) - len(self.needs.read)
        pairs = enumerate(zip(self.totals.all, self.needs.all, strict=True))
        return [
            total
            if need and self._first[place] == place and (place < before_read or place - before_read in self._reached)
            else None
            for place, (total, need) in pairs
        ]


def first_places(tensors: Sequence[Any]) -> list[int]:
    """Where each tensor came first."""
    first = {id(t): place for place, t in reversed(list(enumerate(tensors)))}
    return [first[id(t)] for t in tensors]
