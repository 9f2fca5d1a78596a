"""Which rank has a row, kept in shares: positions are dealt out to ranks in equal runs, their homes.

A home knows the owners of its run, ``num_rows / num_ranks`` entries, and answers questions. A table on every rank would
grow with the graph and not fall with ranks.
"""

from collections.abc import Hashable
from typing import NamedTuple

import torch
from torch import Tensor

from fullgraph.rows.view import View


class _Asked(NamedTuple):
    """Questions sorted by home: ``order`` puts them so, ``counts`` of them go to each rank."""

    order: Tensor
    counts: list[int]

    @classmethod
    def of(cls, positions: Tensor, num_rows: int, num_ranks: int) -> "_Asked":
        home = (positions * num_ranks).div(max(num_rows, 1), rounding_mode="floor")
        return cls(home.argsort(stable=True), torch.bincount(home, minlength=num_ranks).tolist())

    def split(self, values: Tensor) -> list[Tensor]:
        return list(values[self.order].split(self.counts))

    def answers(self, heard: list[Tensor]) -> Tensor:
        """What homes answered, in the order of the questions."""
        together = torch.cat(heard)
        return torch.empty_like(together).index_copy_(0, self.order, together)


def _first(view: View, num_rows: int) -> int:
    """The first position of this rank's run: homes are ``floor(position * num_ranks / num_rows)``."""
    return -(-num_rows * view.world.rank // view.world.num_ranks)


def locate(view: View, key: Hashable, num_rows: int, own: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    """The rank that has each of some positions, and its local row there, int64 each. Collective.

    Args:
        view: the ranks, more than one.
        key: what the rows are; homes of these are told once.
        num_rows: rows of all ranks.
        own: the position of each row of this rank.
        positions: which are asked for.
    """
    view.check()
    num_ranks, first = view.world.num_ranks, _first(view, num_rows)
    table = view.made.get(("directory", key))
    if table is None:
        told = _Asked.of(own, num_rows, num_ranks)
        heard = view.swap(told.split(torch.stack([own, torch.arange(len(own), device=own.device)], 1)))
        table = torch.full((-(-num_rows // num_ranks) + 1, 2), -1, device=positions.device)
        for rank, pairs in enumerate(heard):
            table[pairs[:, 0] - first, 0] = rank
            table[pairs[:, 0] - first, 1] = pairs[:, 1]
        view.made.put(("directory", key), table, num_rows)
    asked = _Asked.of(positions, num_rows, num_ranks)
    questions = view.swap(asked.split(positions))
    answers = asked.answers(view.swap([table[q - first] for q in questions]))
    return answers[:, 0], answers[:, 1]


def ranks_among(view: View, positions: Tensor, num_rows: int) -> Tensor:
    """The place of each own position among those of all ranks, which differ. Collective."""
    if view.is_alone:
        order = positions.argsort()
        return torch.empty_like(order).index_copy_(0, order, torch.arange(len(order), device=order.device))
    asked = _Asked.of(positions, num_rows, view.world.num_ranks)
    heard = view.swap(asked.split(positions))
    together = torch.cat(heard)
    counts = torch.zeros(view.world.num_ranks, dtype=torch.int64, device=positions.device)
    counts[view.world.rank] = len(together)
    before = int(view.sum(counts)[: view.world.rank].sum())
    order = together.argsort()
    places = torch.empty_like(order).index_copy_(0, order, torch.arange(len(order), device=order.device))
    return asked.answers(view.swap(list((places + before).split([len(h) for h in heard]))))
