"""One direction in which rows walk over edges: own rows at once, other ranks' rows round by round."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fullgraph.comm import Routes
from fullgraph.graph.block import Block


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
