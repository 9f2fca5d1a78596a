"""Sums over rows that never change are formed once: layer 0 of most models aggregates the same features every epoch.

Nothing is configured. A tensor without a gradient that comes again as the same object, unchanged, gets the result of
the time before, and no row travels for it. Tensors are held by weak references, so a result goes with its input.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from weakref import ref

import torch
from torch import Tensor

from fullgraph.comm import World
from fullgraph.engine.identity import Identity, could_be_constant


class Standing(IntEnum):
    """What all ranks together know of an aggregation: the least that any of them knows."""

    NEW = 0
    SEEN = 1
    REMEMBERED = 2


@dataclass(eq=False)
class _Entry:
    kind: Hashable
    inputs: tuple[Identity | None, ...]
    result: Tensor | None = None
    result_version: int = 0

    @property
    def standing(self) -> Standing:
        """A result that a caller changed in place is worth no more than none."""
        changed = self.result is None or self.result._version != self.result_version
        return Standing.SEEN if changed else Standing.REMEMBERED


class Constants:
    """The aggregations of one plan whose inputs need no gradient, and their results."""

    def __init__(self, world: World):
        self._world = world
        self._entries: dict[int, _Entry] = {}
        self._count = 0

    def standing(self, kind: Hashable, *inputs: Tensor | None, known_here: bool = True) -> Standing:
        """What is known of ``kind`` over ``inputs``, equal on all ranks. Collective, unless an input needs a gradient.

        NEW inputs are known from now on, and forgotten when they die. With ``known_here`` False on any rank, all ranks
        take them for NEW: that rank has no room for the result.
        """
        if not could_be_constant(*inputs):
            return Standing.NEW
        entry = self._find(kind, inputs)
        known = entry.standing if entry is not None and known_here else Standing.NEW
        if entry is None:
            self._add(kind, inputs)
        if self._world.num_ranks == 1:
            return known
        # A tensor may have changed on one rank alone, and ranks that disagree would wait for each other's rows.
        ranks = self._world.all_reduce(torch.tensor([known >= s for s in (Standing.SEEN, Standing.REMEMBERED)]).int())
        return Standing(int((ranks == self._world.num_ranks).sum()))

    def once(
        self,
        compute: Callable[[], Tensor],
        kind: Hashable,
        *inputs: Tensor | None,
        standing: Standing | None = None,
    ) -> Tensor:
        """``compute()``, or what it gave for the same inputs before; not to be changed in place. Collective.

        Without gradients on (evaluation), where every layer's input could be constant, a result is remembered only if
        its inputs were seen before; so hidden layers' results are not kept. ``standing`` is what `standing` has just
        answered, if it was asked.
        """
        if standing is None:
            standing = self.standing(kind, *inputs)
        entry = self._find(kind, inputs) if could_be_constant(*inputs) else None
        if standing == Standing.REMEMBERED:
            assert entry is not None
            assert entry.result is not None
            return entry.result
        out = compute()
        if entry is not None and (torch.is_grad_enabled() or standing == Standing.SEEN):
            entry.result, entry.result_version = out, out._version
        return out

    def _find(self, kind: Hashable, inputs: tuple[Tensor | None, ...]) -> _Entry | None:
        for entry in list(self._entries.values()):
            if entry.kind == kind and all(
                (known is None and given is None) or (known is not None and given is not None and known.is_still(given))
                for known, given in zip(entry.inputs, inputs, strict=True)
            ):
                return entry
        return None

    def _add(self, kind: Hashable, inputs: tuple[Tensor | None, ...]) -> None:
        number, self._count = self._count, self._count + 1
        forget = partial(_forget, ref(self), number)
        identities = tuple(None if t is None else Identity(t, forget) for t in inputs)
        # What was known of the same tensors at an earlier version can never be asked for again.
        for old, entry in list(self._entries.items()):
            if entry.kind == kind and any(
                a and b and a.replaces(b) for a, b in zip(identities, entry.inputs, strict=True)
            ):
                self._entries.pop(old, None)
        self._entries[number] = _Entry(kind, identities)


def _forget(constants: "ref[Constants]", number: int, _: object) -> None:
    owner = constants()
    if owner is not None:
        owner._entries.pop(number, None)
