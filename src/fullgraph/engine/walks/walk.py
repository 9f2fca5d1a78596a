"""One direction in which rows walk over edges: own rows at once, other ranks' rows round by round.

Sums, extrema, attention and messages differ in what they do at each block, so each is a visitor of this one loop, in
forward and, along the same edges or against them, in backward.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fullgraph.comm import Returns, Routes
from fullgraph.graph.block import Block

Grads = Sequence[Tensor | None]
Rounds = Iterable[tuple[int, tuple[Tensor, ...]]]
Visitor = Callable[[Block, tuple[Tensor, ...], Grads], None]


@dataclass(frozen=True)
class Walk:
    """A rank's edges in blocks, and how the rows of their columns come.

    Attributes:
        local: edges between rows of this rank; no rows are copied for it.
        blocks: one block per round of ``routes``; its columns are the rows that the round receives. None where a round
            brings nothing.
        routes: how the rows travel.
    """

    local: Block
    blocks: tuple[Block | None, ...]
    routes: Routes

    def visit(self, visitor: Visitor, own: tuple[Tensor, ...], incoming: Rounds, grads: Grads = ()) -> None:
        """All blocks, the one of own rows first, while those of other ranks are under way. Collective.

        Args:
            visitor: is given a block, the rows of its columns and where the gradients of these are added.
            own: this rank's tensors.
            incoming: other ranks' tensors, from `comm.fetch` or what stands for it.
            grads: where the gradients of the last ones of ``own`` are added, None for one that needs none. Those of
                other ranks' rows are sent to them, and theirs of this rank's rows added here.
        """
        home = _needed(grads)
        returns = Returns(self.routes, home) if home else None
        visitor(self.local, own, grads)
        for number, rows in incoming:
            block = self.blocks[number]
            last = rows[len(rows) - len(grads) :]
            found = [None if total is None else torch.zeros_like(t) for t, total in zip(last, grads, strict=True)]
            if block is not None:
                visitor(block, rows, found)
            if returns is not None:
                returns.post(number, _needed(found))
            del rows, last, found  # before the next round is posted
        if returns is not None:
            returns.finish()


def keeping(incoming: Rounds, kept: dict[int, tuple[Tensor, ...]] | None) -> Rounds:
    """The same rounds, noted in ``kept`` for backward, if that is given."""
    return incoming if kept is None else _noted(incoming, kept)


def _noted(incoming: Rounds, kept: dict[int, tuple[Tensor, ...]]) -> Iterator[tuple[int, tuple[Tensor, ...]]]:
    for number, rows in incoming:
        kept[number] = rows
        yield number, rows


def _needed(grads: Grads) -> list[Tensor]:
    return [grad for grad in grads if grad is not None]


def blocks_of_rounds(
    routes: Routes, owner: Tensor, position: Tensor, rows: Tensor, ids: Tensor, num_rows: int
) -> tuple[Block | None, ...]:
    """Cut edges into one block per round that receives, by the owner of their column and its place among its rows."""
    first_round = torch.zeros(routes.world.num_ranks, dtype=torch.int64)
    for number in reversed(range(len(routes.rounds))):
        if len(routes.rounds[number].receive):
            first_round[routes.rounds[number].receive_from] = number
    number = first_round.to(owner.device)[owner] + position // routes.round_rows
    counts = torch.bincount(number, minlength=len(routes.rounds)).tolist()
    groups = torch.argsort(number, stable=True).split(counts)
    columns = position % routes.round_rows
    return tuple(
        Block.from_edges(rows[g], columns[g], ids[g], num_rows=num_rows, num_cols=len(round_.receive))
        if len(round_.receive)
        else None
        for g, round_ in zip(groups, routes.rounds, strict=True)
    )
