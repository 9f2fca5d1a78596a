"""The remote-aware index: an ``edge_index`` with sources on other ranks, for layers that never heard of ranks.

It is a plain `torch.Tensor` subclass of shape ``[2, num_edges]``. Its destinations are rows that this rank owns, and
every in-edge of an owned row is here, so whatever is grouped by destination (softmax, degree, any aggregation) is local
and already global. Its sources are extended ids (`engine.Halo`): reading a node tensor with them fetches the halo
first, adding into one with them sends the halo's part home. What has no global meaning is refused by name.

We do not subclass PyG's `EdgeIndex`: it turns ``__torch_function__`` off, below which "the sources of this graph" is
just a tensor of numbers.
"""

from collections.abc import Callable, Hashable, Sequence
from functools import cached_property
from typing import Any, Self

import torch
from torch import Tensor

from fullgraph.engine import Neighbourhood, Plan, neighbourhoods
from fullgraph.errors import UnsupportedOperation
from fullgraph.pyg.callers import advice
from fullgraph.pyg.rank_graph import RankGraph, RankRelation
from fullgraph.pyg.remembered import Made, Remembered


class RemoteTensor(Tensor):
    """What `RemoteIndex` and `RemoteIds` share: the meaning of every operation on them.

    Attributes:
        relation: the rank's view of the relation that the edges belong to.
    """

    relation: RankRelation

    @property
    def graph(self) -> RankGraph:
        """The rank's view of the partitioned graph."""
        return self.relation.graph

    @property
    def plain(self) -> Tensor:
        """The same numbers as an ordinary tensor; remote ends are extended ids."""
        return self.as_subclass(Tensor)

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        from fullgraph.pyg.index_operations import MEANINGS, STRUCTURE  # which knows these classes

        kwargs = kwargs or {}
        with torch._C.DisableTorchFunctionSubclass():
            meaning = MEANINGS.get(func)
            if meaning is not None:
                answer = meaning(func, *args, **kwargs)
                if answer is not NotImplemented:
                    return answer
            if func in STRUCTURE:
                return func(*args, **kwargs)
        raise UnsupportedOperation(
            "this operation on the edge_index of a partitioned graph has no global meaning, because its sources may "
            f"live on other ranks; {advice()}, or see docs/your-model.md: "
            f"{torch.overrides.resolve_name(func) or func.__name__}"
        )


class RemoteIndex(RemoteTensor):
    """Edges into this rank's rows, int64 ``[2, num_edges]``; immutable.

    Attributes:
        remote_row: which row holds the possibly remote ends: 0, or 1 after a flip.
        edge_keys: int64 ``[num_edges]``, a key per edge that is the same on any number of ranks: its position in the
            original graph, one relation's edges after another's, or the number of edges plus the node's id for an
            added self-loop; None if edges of unknown origin were appended.
    """

    remote_row: int
    edge_keys: Tensor | None

    @classmethod
    def make(cls, ids: Tensor, relation: RankRelation, edge_keys: Tensor | None, remote_row: int = 0) -> Self:
        """Wrap ``ids`` ``[2, num_edges]``, extended ids in ``remote_row`` and own rows in the other."""
        index = torch.Tensor._make_subclass(cls, ids)
        index.relation, index.remote_row, index.edge_keys = relation, remote_row, edge_keys
        relation.graph.know_edges(edge_keys)
        return index

    @cached_property
    def plan(self) -> Plan:
        """The walks over these edges, from remote ends to owned ends."""
        ids = self.plain
        return Plan(self.relation.halo, ids[self.remote_row], ids[1 - self.remote_row], self.relation.num_dst)

    @cached_property
    def neighbourhoods(self) -> list[Neighbourhood]:
        """Complete neighbourhoods of all owned rows, a bounded number of edges each. Collective the first time."""
        return neighbourhoods(self.plan, self.graph.config.chunk_edges)

    @cached_property
    def places_by_destination(self) -> Tensor:
        """Where each edge stands when one neighbourhood follows another, int64 ``[num_edges]``."""
        order = torch.cat([run.edge_ids for run in self.neighbourhoods])
        return torch.empty_like(order).index_copy_(0, order, torch.arange(len(order), device=order.device))

    # Layers derive the same few indices from this one in every forward, and each has a plan to build. So the results of
    # PyG's own steps are remembered: `ids[0] != ids[1]`, choosing by that mask, appending one self-loop per row.

    @cached_property
    def is_no_loop(self) -> Tensor:
        """Which edges are no self-loops, bool ``[num_edges]``."""
        self.relation.check_square()
        return self.plain[0] != self.plain[1]

    @cached_property
    def without_self_loops(self) -> "RemoteIndex":
        """The other edges, in their order."""
        return edges_at(self, self.is_no_loop)

    @cached_property
    def with_loops_appended(self) -> "RemoteIndex":
        """These edges and then one self-loop per owned row."""
        loop_keys = self.relation.loop_keys
        loops = torch.arange(self.relation.num_dst, device=self.plain.device).repeat(2, 1)
        keys = None if self.edge_keys is None else torch.cat([self.edge_keys, loop_keys])
        return RemoteIndex.make(torch.cat([self.plain, loops], dim=1), self.relation, keys, self.remote_row)

    @property
    def with_self_loops(self) -> "RemoteIndex":
        """These edges with every self-loop replaced by exactly one per owned row, at the end, as PyG orders them."""
        return self.without_self_loops.with_loops_appended

    def constant(self, name: Hashable, given: Tensor | None, make: Callable[[], Made]) -> Made:
        """``make()``, remembered under ``name`` for as long as the tensor it is made from is the same on every rank.

        ``given`` is that tensor, or None if the edges alone decide; with a tensor this is collective. Nothing made from
        a tensor that needs a gradient is remembered.
        """
        if given is not None:
            return self._remembered.once(name, given, make)
        if name not in self._of_edges:
            self._of_edges[name] = make()
        return self._of_edges[name]

    @cached_property
    def _of_edges(self) -> dict[Hashable, Any]:
        return {}

    @cached_property
    def _remembered(self) -> Remembered:
        return Remembered(self.graph.world)


class RemoteIds(RemoteTensor):
    """The possibly remote ends of edges, int64 ``[num_edges]`` or a view of it that repeats each id."""

    whole: RemoteIndex | None

    @staticmethod
    def of(ids: Tensor, relation: RankRelation, whole: RemoteIndex | None = None) -> "RemoteIds":
        """Wrap extended ids; ``whole`` is the index of which they are one row."""
        remote = torch.Tensor._make_subclass(RemoteIds, ids)
        remote.relation, remote.whole = relation, whole
        return remote


def choose_edges(index: RemoteIndex, chosen: Any) -> RemoteIndex:
    """``index[:, chosen]``, chosen a mask, positions or a slice: the same object for the same tensor. Collective."""
    if chosen is index.__dict__.get("is_no_loop"):
        return index.without_self_loops
    if isinstance(chosen, Tensor):
        return index.constant("edges at", chosen, lambda: edges_at(index, chosen))
    return edges_at(index, chosen)


def edges_at(index: RemoteIndex, chosen: Tensor | slice) -> RemoteIndex:
    """A new index of the chosen edges, for this rank alone to make."""
    keys = None if index.edge_keys is None else index.edge_keys[chosen]
    return RemoteIndex.make(index.plain[:, chosen], index.relation, keys, index.remote_row)
