"""What the rows of one opened graph share: the ranks, and what a running model has entered.

Every word between ranks that a program's own operations cause goes through here, so that a message that runs on a piece
of the edges is found out when it looks beyond them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor

from fullgraph.comm import World, swap
from fullgraph.config import EngineConfig
from fullgraph.engine import Recipes
from fullgraph.errors import UnsupportedOperation
from fullgraph.rows.recent import Recent


class LooksBeyondPiece(UnsupportedOperation):
    """What runs on some edges at a time has asked for something of all edges."""


@dataclass(eq=False, kw_only=True)
class View:
    """The global view of one graph on this rank.

    Attributes:
        world: the ranks.
        config: how the engine walks.
        recipes: while a model runs that will have a backward, how its tensors are made; else None.
        entered: while a prepared model runs, its parameters' aliases by the parameters' ``id``; else None.
        in_piece: whether a layer is running on a piece of the edges.
        made: ways between spaces and directories of them, by name: the same on all ranks.
    """

    world: World
    config: EngineConfig
    recipes: Recipes | None = None
    entered: dict[int, Tensor] | None = None
    in_piece: bool = False
    _numbers: int = 0
    made: Recent[Any] = field(default_factory=lambda: Recent(1 << 62))

    @property
    def is_alone(self) -> bool:
        """Whether one rank has all rows."""
        return self.world.num_ranks == 1

    def check(self) -> None:
        """Refuse to speak to other ranks on behalf of a piece, on one rank too.

        Raises:
            LooksBeyondPiece: inside a piece.
        """
        if self.in_piece:
            raise LooksBeyondPiece("it looks beyond the edges that it is given")

    def sum(self, x: Tensor) -> Tensor:
        """The sum of all ranks' ``x``, of any dtype; not differentiable. Collective."""
        self.check()
        return x if self.is_alone else _plain_reduce(self.world.all_reduce, x)

    def max(self, x: Tensor) -> Tensor:
        """The largest of all ranks' ``x``, entry by entry; not differentiable. Collective."""
        self.check()
        return x if self.is_alone else _plain_reduce(self.world.all_max, x)

    def min(self, x: Tensor) -> Tensor:
        """The smallest of all ranks' ``x``, entry by entry; not differentiable. Collective."""
        if not x.is_floating_point():
            return ~self.max(~x)  # the smallest integer has no negative
        return self.max(x.neg()).neg()

    def swap(self, outgoing: list[Tensor]) -> list[Tensor]:
        """Give every rank its own list, this one included, and receive one from each. Collective."""
        self.check()
        if self.is_alone:
            return outgoing
        heard = swap(self.world, outgoing)
        heard[self.world.rank] = outgoing[self.world.rank]
        return heard

    def new_number(self) -> int:
        """A number that no other call gives, the same on all ranks."""
        self._numbers += 1
        return self._numbers

    @contextmanager
    def piece(self) -> Iterator[None]:
        """While a layer runs on some edges: whatever would speak to other ranks raises `LooksBeyondPiece`."""
        before, self.in_piece = self.in_piece, True
        try:
            yield
        finally:
            self.in_piece = before

    @contextmanager
    def recomputing(self) -> Iterator[Recipes | None]:
        """While a model runs: where to note how rows are made that backward can make again; None if it shall not."""
        if self.recipes is not None or self.config.recompute == "none" or not torch.is_grad_enabled():
            yield None
            return
        self.recipes = Recipes()
        try:
            yield self.recipes
        finally:
            self.recipes.forget()
            self.recipes = None

    def __reduce__(self) -> Any:
        """Connections to other ranks cannot be saved: a tensor that remembers them forgets."""
        return type(None), ()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A copied model stays on the same graph: connections to other ranks cannot be copied."""
        return self


def _plain_reduce(reduce: Any, x: Tensor) -> Tensor:
    """``reduce`` a copy of ``x``; bools as bytes and short integers as longer ones, which backends can add."""
    if x.dtype == torch.bool:
        return reduce(x.to(torch.uint8)).bool()
    if x.dtype == torch.int16:
        return reduce(x.to(torch.int32)).to(x.dtype)
    return reduce(x.detach().clone(memory_format=torch.contiguous_format))
