"""Row spaces for tests: uneven parts in no order, and a rank that owns nothing."""

import torch

from fullgraph.comm import World
from fullgraph.config import EngineConfig
from fullgraph.rows import Space, View


def node_space(world: World, num_rows: int, name: str = "node", seed: int = 1, view: View | None = None) -> Space:
    """``num_rows`` rows dealt out at random: about half of them to rank 0, none to the last of several ranks."""
    view = view or View(world=world, config=EngineConfig())
    if world.num_ranks == 1:
        return Space(view, num_rows, num_rows, name, torch.arange(num_rows))
    order = torch.randperm(num_rows, generator=torch.Generator().manual_seed(seed))
    first, others = num_rows // 2, world.num_ranks - 2
    shares = [order[:first], *order[first:].tensor_split(max(others, 1))]
    shares += [order[:0]] * (world.num_ranks - len(shares))
    own = shares[world.rank]
    return Space(view, num_rows, len(own), name, own)
