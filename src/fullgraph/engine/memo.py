"""Remembers what was made of tensors while they do not change: most first layers sum the same features each epoch.

Nothing is configured. A tensor without a gradient that comes again as the same object, unchanged, gets the result of
the time before, and no row travels for it. To compare numbers would read all of them each time; a weak reference and a
version cost nothing, and a result goes with its input.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from typing import Any, TypeVar
from weakref import ref

import torch
from torch import Tensor

from fullgraph.comm import World

Made = TypeVar("Made")


class Standing(IntEnum):
    """What all ranks together know of an aggregation: the least that any of them knows."""

    NEW = 0
    SEEN = 1
    REMEMBERED = 2


def could_be_constant(*inputs: Tensor | None) -> bool:
    """Whether no gradient is asked of any of them, and changes to them can be noticed."""
    return all(t is None or not (t.requires_grad or t.is_inference()) for t in inputs)


class Memo:
    """What was made over one set of edges, of inputs that need no gradient, by name and inputs."""

    def __init__(self, world: World):
        self._world = world
        self._entries: dict[int, _Entry] = {}
        self._count = 0

    def latest(self, name: Hashable, make: Callable[[], Made], *inputs: Tensor | None) -> Made:
        """``make()``, or what it gave the last time under ``name``, if ``inputs`` are the same, unchanged.

        Ranks are not asked: a program changes a tensor on all of them. Without inputs it is made once and for all.
        """
        if not could_be_constant(*inputs):
            return make()
        entry = self._find(name, inputs)
        if entry is None:
            made = make()
            self._drop(name, lambda _: True)
            entry = self._add(name, inputs)
            entry.result = made
        return entry.result

    def standing(self, name: Hashable, *inputs: Tensor | None, known_here: bool = True) -> Standing:
        """What is known of ``name`` over ``inputs``, equal on all ranks. Collective, unless an input needs a gradient.

        NEW inputs are known from now on, and forgotten when they die. With ``known_here`` False on any rank, all ranks
        take them for NEW: that rank has no room for the result.
        """
        if not could_be_constant(*inputs):
            return Standing.NEW
        entry = self._find(name, inputs)
        known = entry.standing if entry is not None and known_here else Standing.NEW
        if entry is None:
            self._add(name, inputs)
        if self._world.num_ranks == 1:
            return known
        # A tensor may have changed on one rank alone, and ranks that disagree would wait for each other's rows.
        ranks = self._world.all_reduce(torch.tensor([known >= s for s in (Standing.SEEN, Standing.REMEMBERED)]).int())
        return Standing(int((ranks == self._world.num_ranks).sum()))

    def once(
        self,
        compute: Callable[[], Tensor],
        name: Hashable,
        *inputs: Tensor | None,
        standing: Standing | None = None,
    ) -> Tensor:
        """``compute()``, or what it gave for the same inputs before; not to be changed in place. Collective.

        Without gradients on (evaluation), where every layer's input could be constant, a result is remembered only if
        its inputs were seen before; so hidden layers' results are not kept. ``standing`` is what `standing` has just
        answered, if it was asked.
        """
        if standing is None:
            standing = self.standing(name, *inputs)
        entry = self._find(name, inputs) if could_be_constant(*inputs) else None
        if standing == Standing.REMEMBERED:
            assert entry is not None
            return entry.result
        out = compute()
        if entry is not None and (torch.is_grad_enabled() or standing == Standing.SEEN):
            entry.result, entry.result_version = out, out._version
        return out

    def _find(self, name: Hashable, inputs: tuple[Tensor | None, ...]) -> "_Entry | None":
        for entry in list(self._entries.values()):
            if entry.name == name and entry.is_of(inputs):
                return entry
        return None

    def _add(self, name: Hashable, inputs: tuple[Tensor | None, ...]) -> "_Entry":
        number, self._count = self._count, self._count + 1
        forget = partial(_forget, ref(self), number)
        identities = tuple(None if t is None else _Identity(t, forget) for t in inputs)
        # What was known of the same tensors at an earlier version can never be asked for again.
        self._drop(name, lambda old: any(a and b and a.replaces(b) for a, b in zip(identities, old, strict=True)))
        self._entries[number] = entry = _Entry(name, identities)
        return entry

    def _drop(self, name: Hashable, which: Callable[[tuple[Any, ...]], bool]) -> None:
        for number, entry in list(self._entries.items()):
            if entry.name == name and which(entry.inputs):
                self._entries.pop(number, None)


class _Identity:
    """Which memory of which tensor, and its version: while these are the same, so are its numbers.

    Layers make new views of one tensor in every call, so what counts is the tensor that a view belongs to.
    """

    def __init__(self, tensor: Tensor, forget: Callable[[object], None]):
        self._origin = ref(_origin(tensor), forget)
        self._version, self._place = tensor._version, _place(tensor)

    def is_still(self, tensor: Tensor) -> bool:
        """Whether ``tensor`` is that memory, unchanged."""
        same = self._origin() is _origin(tensor)
        return same and self._version == tensor._version and self._place == _place(tensor)

    def replaces(self, earlier: "_Identity") -> bool:
        """Whether this is the same tensor at another version."""
        return self._origin() is earlier._origin() and self._version != earlier._version


@dataclass(eq=False)
class _Entry:
    name: Hashable
    inputs: tuple[_Identity | None, ...]
    result: Any = None
    result_version: int = 0

    def is_of(self, inputs: tuple[Tensor | None, ...]) -> bool:
        """Whether it belongs to these, unchanged."""
        return all(
            given is None if known is None else given is not None and known.is_still(given)
            for known, given in zip(self.inputs, inputs, strict=True)
        )

    @property
    def standing(self) -> Standing:
        """A result that a caller changed in place is worth no more than none."""
        changed = self.result is None or self.result._version != self.result_version
        return Standing.SEEN if changed else Standing.REMEMBERED


def _forget(memo: "ref[Memo]", number: int, _: object) -> None:
    owner = memo()
    if owner is not None:
        owner._entries.pop(number, None)


def _origin(tensor: Tensor) -> Tensor:
    base = tensor._base if tensor._is_view() else None
    return tensor if base is None else base


def _place(tensor: Tensor) -> Hashable:
    return tensor.storage_offset(), tuple(tensor.shape), tensor.stride(), tensor.dtype
