"""What was made from a tensor, remembered for as long as every rank has that tensor, unchanged.

Models choose the same edges in every forward, and each choice has walks to build, which takes all ranks. Were each rank
to decide by itself, one whose mask has changed would wait for others that build nothing.
"""

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, NamedTuple, TypeVar
from weakref import ref

import torch
from torch import Tensor

from fullgraph.comm import World
from fullgraph.engine import Identity, could_be_constant

Made = TypeVar("Made")


class _Entry(NamedTuple):
    name: Hashable
    given: Identity
    made: Any


class Remembered:
    """Things made from tensors. A thing goes with its tensor, which is held by a weak reference."""

    def __init__(self, world: World):
        self._world = world
        self._entries: dict[int, _Entry] = {}
        self._count = 0

    def once(self, name: Hashable, given: Tensor, make: Callable[[], Made]) -> Made:
        """``make()``, or what it gave for the same name and tensor before, on all ranks alike.

        Collective, unless ``given`` needs a gradient: then nothing is remembered.
        """
        if not could_be_constant(given):
            return make()
        of_name = {number: entry for number, entry in self._entries.items() if entry.name == name}
        known = next((entry for entry in of_name.values() if entry.given.is_still(given)), None)
        if self._everyone(known is not None):
            assert known is not None
            return known.made
        made = make()
        number, self._count = self._count, self._count + 1
        identity = Identity(given, partial(_forget, ref(self), number))
        for old, entry in of_name.items():
            if entry is known or identity.replaces(entry.given):
                self._entries.pop(old, None)
        self._entries[number] = _Entry(name, identity, made)
        return made

    def _everyone(self, knows: bool) -> bool:
        if self._world.num_ranks == 1:
            return knows
        return int(self._world.all_reduce(torch.tensor([knows]).int())) == self._world.num_ranks


def _forget(remembered: "ref[Remembered]", number: int, _: object) -> None:
    owner = remembered()
    if owner is not None:
        owner._entries.pop(number, None)
