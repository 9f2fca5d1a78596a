"""Several relations as one index, whose sources and destinations stand one type, or one relation, after another.

PyG stacks rows and adds offsets to ids. A rank's rows do stack, but offsets differ from rank to rank, so the halos are
stacked too: a source row is needed where any relation of its stack needs it, and travels once.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from fullgraph.engine import Halo
from fullgraph.graph import Relation
from fullgraph.pyg.index import RemoteIndex
from fullgraph.pyg.rank_graph import RankGraph, RankRelation


def stack(
    indices: Sequence[RemoteIndex],
    stack_of: Sequence[tuple[Any, Any]],
    num_src: Mapping[Any, int],
    dst_ids: Mapping[Any, Tensor],
    graph: RankGraph,
    name: Relation,
) -> RemoteIndex:
    """The edges of ``indices``, one index's after another's, over stacked rows. Collective.

    Args:
        indices: of one graph, none of them flipped.
        stack_of: per index, in which stack of sources and which of destinations its rows are.
        num_src: per stack of sources, in order, rows that this rank owns.
        dst_ids: per stack of destinations, in order, int64 ``[num_own]`` keys of the rows.
        graph: what the stacked rows are part of.
        name: of the relation between them.
    """
    own_counts = graph.world.gather_objects(list(num_src.values()))
    firsts = [dict(zip(num_src, accumulate(counts, initial=0), strict=False)) for counts in own_counts]
    first_dst = dict(zip(dst_ids, accumulate((len(ids) for ids in dst_ids.values()), initial=0), strict=False))
    needed_of = {name: _union(indices, stack_of, name, graph) for name in num_src}
    needed = tuple(
        torch.cat([needed_of[name][rank] + firsts[rank][name] for name in num_src])
        for rank in range(graph.world.num_ranks)
    )
    halo = Halo.connect(graph.world, graph.config, sum(num_src.values()), needed)
    here = firsts[graph.world.rank]
    src = [
        _renumbered(index, name, needed_of, here[name], halo)
        for index, (name, _) in zip(indices, stack_of, strict=True)
    ]
    dst = [index.plain[1] + first_dst[name] for index, (_, name) in zip(indices, stack_of, strict=True)]
    keys = [index.edge_keys for index in indices]
    known = [there for there in keys if there is not None]
    relation = RankRelation(
        graph=graph,
        name=name,
        halo=halo,
        dst_ids=torch.cat(list(dst_ids.values())),
        square=list(num_src) == list(dst_ids),
    )
    return RemoteIndex.make(
        torch.stack([torch.cat(src), torch.cat(dst)]), relation, torch.cat(known) if len(known) == len(keys) else None
    )


def _union(
    indices: Sequence[RemoteIndex], stack_of: Sequence[tuple[Any, Any]], name: Any, graph: RankGraph
) -> list[Tensor]:
    """Per rank, which of its rows of the stack ``name`` this rank needs, ascending."""
    halos = [index.relation.halo for index, (stacked, _) in zip(indices, stack_of, strict=True) if stacked == name]
    empty = torch.zeros(0, dtype=torch.int64, device=graph.world.device)
    return [
        torch.unique(torch.cat([empty, *(halo.needed[rank] for halo in halos)]))
        for rank in range(graph.world.num_ranks)
    ]


def _renumbered(index: RemoteIndex, name: Any, needed_of: Mapping[Any, list[Tensor]], first: int, halo: Halo) -> Tensor:
    """The index's sources as extended ids of the stacked ``halo``, int64 ``[num_edges]``."""
    before, ids = index.relation.halo, index.plain[0]
    places = [torch.arange(before.num_own, device=ids.device) + first]
    for rank, needed in enumerate(before.needed):
        earlier = 0
        for other, by_rank in needed_of.items():
            if other == name:
                break
            earlier += len(by_rank[rank])
        start = halo.num_own + halo.routes.receive_offsets[rank] + earlier
        places.append(torch.searchsorted(needed_of[name][rank], needed) + start)
    return torch.cat(places)[ids]
