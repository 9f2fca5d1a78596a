"""An index of some edges, with a halo of the rows that these need alone: a walk over them sends no other row."""

import torch

from fullgraph.engine import Halo
from fullgraph.pyg.index import RemoteIndex
from fullgraph.pyg.rank_graph import RankRelation


def narrowed(index: RemoteIndex) -> RemoteIndex:
    """The same edges over a smaller halo. Collective."""
    relation, ids = index.relation, index.plain.clone()
    halo, world = relation.halo, relation.graph.world
    if world.num_ranks == 1:
        return index
    remote = ids[index.remote_row]
    foreign = remote >= halo.num_own
    used = torch.unique(remote[foreign]) - halo.num_own
    cuts = torch.searchsorted(used, halo.offsets)
    needed = tuple(
        there[used[cuts[rank] : cuts[rank + 1]] - halo.offsets[rank]] for rank, there in enumerate(halo.needed)
    )
    remote[foreign] = halo.num_own + torch.searchsorted(used, remote[foreign] - halo.num_own)
    smaller = RankRelation(
        graph=relation.graph,
        name=relation.name,
        halo=Halo.connect(world, halo.config, halo.num_own, needed),
        dst_ids=relation.dst_ids,
        square=relation.square,
    )
    return RemoteIndex.make(ids, smaller, index.edge_keys, index.remote_row)
