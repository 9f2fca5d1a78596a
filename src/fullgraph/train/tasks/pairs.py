"""Which pairs of nodes are linked, and which are not, for training and evaluation: the same on any number of ranks.

Everything drawn is the hash of a key: of a pair's two ids for the split, so that both directions and all copies of an
edge are on one side; of a node's id for the pairs without an edge, which the rank that has a node's in-edges makes.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fullgraph.engine import hashed, keyed_uniform
from fullgraph.errors import InputError
from fullgraph.graph import NODE
from fullgraph.pyg.data.graph import rank_graph
from fullgraph.rows import Rows, Space, local, rows

TRAIN, VAL, TEST, VAL_NEGATIVE, TEST_NEGATIVE = range(5)
"""The numbers of the edge array ``edge_split``."""
SPLIT = "edge_split"
TRIES = 16
"""How often a pair without an edge is drawn before it is left out."""


def edge_split(data: Any, seed: int, val: float, test: float) -> Rows:
    """For each edge one of the five numbers, int64 ``[num_edges]``.

    Those of the graph's array ``edge_split``, or drawn: a pair is in validation with probability ``val`` and in test
    with probability ``test``. Self-loops are in training, and of no pair.

    Raises:
        InputError: on all ranks, on another number in the graph's array.
    """
    if SPLIT in data:
        split = data[SPLIT]
        if split.dim() != 1 or split.is_floating_point():
            raise InputError(f"{SPLIT} must have a whole number per edge: {split.dtype} {list(split.shape)}")
        for worst in (int(split.min()), int(split.max())) if len(split) else ():
            if not TRAIN <= worst <= TEST_NEGATIVE:
                raise InputError(
                    f"{SPLIT} must be 0 (train), 1 (val), 2 (test), 3 (no link, for val) or 4 (no link, for test): "
                    f"{worst}"
                )
        return split.long()
    src, dst = data.edge_index
    space, src, dst = src._space, local(src), local(dst)
    pair = hashed(hashed(torch.minimum(src, dst)) + torch.maximum(src, dst))
    draw = keyed_uniform((len(pair), 1), _key(seed), pair, torch.float64)[:, 0]
    split = (draw < val).long() * VAL + ((draw >= val) & (draw < val + test)) * TEST
    return rows(torch.where(src == dst, TRAIN, split), space)


@dataclass(frozen=True, kw_only=True)
class NoLinks:
    """Pairs without an edge between them, with every node as destination about equally often.

    Attributes:
        nodes: the row space.
        codes: ``destination * num_nodes + source`` of each own edge, int64, sorted.
        seed: of the draws.
    """

    nodes: Space
    codes: Tensor
    seed: int

    @classmethod
    def of(cls, data: Any, edge_index: Tensor, seed: int) -> "NoLinks":
        """Those of a graph of one type, of which these are the edges that count."""
        nodes = rank_graph(data).nodes[NODE]
        src, dst = (local(each) for each in edge_index)
        return cls(nodes=nodes, codes=(dst * nodes.num_rows + src).sort().values, seed=seed)

    def drawn(self, count: int, epoch: int) -> tuple[Rows, Rows]:
        """About ``count`` pairs, as sources of pairs with each node as destination.

        Returns:
            Ids of sources int64 ``[num_nodes, k]``, and bool of the same shape: which of these are pairs; the others
            are more than were asked for, or were drawn 16 times and had an edge each time.
        """
        nodes, ids = self.nodes, self.nodes.positions
        each = count / nodes.num_rows
        width = math.ceil(each)
        dst = ids.repeat_interleave(width)
        keys = (hashed(ids)[:, None] + torch.arange(width, device=ids.device)).view(-1)
        sources, is_linked = torch.zeros_like(dst), torch.ones_like(dst, dtype=torch.bool)
        for attempt in range(TRIES):
            again = is_linked.nonzero().squeeze(1)
            draw = keyed_uniform((len(again), 1), _key(self.seed, epoch, attempt), keys[again], torch.float64)
            sources[again] = (draw[:, 0] * nodes.num_rows).long()
            is_linked[again] = self._has_edge(sources[again], dst[again])
        draw = keyed_uniform((len(ids), 1), _key(self.seed, epoch, TRIES), ids, torch.float64)
        number = math.floor(each) + (draw < each - math.floor(each)).long()
        is_wanted = torch.arange(width, device=ids.device) < number
        are_pairs = is_wanted & ~is_linked.view(-1, width)
        return rows(sources.view(-1, width), nodes), rows(are_pairs, nodes)

    def _has_edge(self, src: Tensor, dst: Tensor) -> Tensor:
        if not len(self.codes):
            return src == dst
        codes = dst * self.nodes.num_rows + src
        place = torch.searchsorted(self.codes, codes).clamp(max=len(self.codes) - 1)
        return (self.codes[place] == codes) | (src == dst)


def _key(*numbers: int) -> int:
    """One number of several, each of which changes it."""
    key = torch.zeros((), dtype=torch.int64)
    for number in numbers:
        key = hashed(key + number + 1)
    return int(key)
