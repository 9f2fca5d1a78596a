"""The remote-aware index: an ``edge_index`` with sources on other ranks, for layers that never heard of ranks.

It is a plain `torch.Tensor` subclass of shape ``[2, num_edges]``. Its destinations are rows that this rank owns, and
every in-edge of an owned row is here, so whatever is grouped by destination (softmax, degree, any aggregation) is local
and already global. Its sources are extended ids (`engine.Halo`): reading a node tensor with them fetches the halo
first, adding into one with them sends the halo's part home. What has no global meaning is refused by name.

We do not subclass PyG's `EdgeIndex`: it turns ``__torch_function__`` off, below which "the sources of this graph" is
just a tensor of numbers.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any
from weakref import ref

import torch
from torch import Tensor

from fullgraph.engine import Neighbourhood, Plan, neighbourhoods, with_halo, without_halo
from fullgraph.errors import UnsupportedOperation
from fullgraph.pyg.rank_graph import RankGraph


class RemoteTensor(Tensor):
    """What `RemoteIndex` and `RemoteIds` share: the meaning of every operation on them, in `_MEANINGS` below.

    Attributes:
        graph: the rank's view of the partitioned graph.
    """

    graph: RankGraph

    @property
    def plain(self) -> Tensor:
        """The same numbers as an ordinary tensor; remote ends are extended ids."""
        return self.as_subclass(Tensor)

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        with torch._C.DisableTorchFunctionSubclass():
            meaning = _MEANINGS.get(func)
            if meaning is not None:
                answer = meaning(func, *args, **kwargs)
                if answer is not NotImplemented:
                    return answer
            if func in _STRUCTURE:
                return func(*args, **kwargs)
        raise UnsupportedOperation(
            "this operation on the edge_index of a partitioned graph has no global meaning, because its sources may "
            "live on other ranks; compute it on the whole graph before partitioning, or see docs/your-model.md: "
            f"{torch.overrides.resolve_name(func) or func.__name__}"
        )


class RemoteIndex(RemoteTensor):
    """Edges into this rank's rows, int64 ``[2, num_edges]``; immutable.

    Attributes:
        remote_row: which row holds the possibly remote ends: 0, or 1 after a flip.
        edge_keys: int64 ``[num_edges]``, a key per edge that is the same on any number of ranks: its position in the
            original graph, or the number of edges plus the node's id for an added self-loop; None if edges of
            unknown origin were appended.
    """

    remote_row: int
    edge_keys: Tensor | None

    @staticmethod
    def make(ids: Tensor, graph: RankGraph, edge_keys: Tensor | None, remote_row: int = 0) -> "RemoteIndex":
        """Wrap ``ids`` ``[2, num_edges]``, extended ids in ``remote_row`` and own rows in the other."""
        index = torch.Tensor._make_subclass(RemoteIndex, ids)
        index.graph, index.remote_row, index.edge_keys = graph, remote_row, edge_keys
        if edge_keys is not None:
            graph.know_edges(edge_keys)
        return index

    @cached_property
    def plan(self) -> Plan:
        """The walks over these edges, from remote ends to owned ends."""
        ids = self.plain
        return Plan(self.graph.halo, ids[self.remote_row], ids[1 - self.remote_row], self.graph.num_own)

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
        return self.plain[0] != self.plain[1]

    @cached_property
    def without_self_loops(self) -> "RemoteIndex":
        """The other edges, in their order."""
        return _choose_edges(self, self.is_no_loop.clone())

    @cached_property
    def with_loops_appended(self) -> "RemoteIndex":
        """These edges and then one self-loop per owned row."""
        loops = torch.arange(self.graph.num_own, device=self.plain.device).repeat(2, 1)
        keys = None if self.edge_keys is None else torch.cat([self.edge_keys, _loop_keys(self.graph)])
        return RemoteIndex.make(torch.cat([self.plain, loops], dim=1), self.graph, keys, self.remote_row)

    @property
    def with_self_loops(self) -> "RemoteIndex":
        """These edges with every self-loop replaced by exactly one per owned row, at the end, as PyG orders them."""
        return self.without_self_loops.with_loops_appended

    def constant(self, name: object, given: Tensor | None, compute: Callable[[], Tensor]) -> Tensor:
        """``compute()``, remembered under ``name`` for as long as the tensor it was computed from is the same one.

        ``given`` is that tensor, or None if the edges alone decide. Nothing that needs a gradient is remembered.
        """
        if given is not None and given.requires_grad:
            return compute()
        known = self._constants.get(name)
        if known is not None and known[0]() is given and (given is None or known[1] == given._version):
            return known[2]
        value = compute()
        origin = (lambda: None) if given is None else ref(given)
        self._constants[name] = (origin, 0 if given is None else given._version, value)
        return value

    def derived(self, name: object, make: "Callable[[], RemoteIndex]") -> "RemoteIndex":
        """``make()``, remembered under ``name``: another index that depends on these edges alone."""
        if name not in self._derived:
            self._derived[name] = make()
        return self._derived[name]

    @cached_property
    def _derived(self) -> "dict[object, RemoteIndex]":
        return {}

    @cached_property
    def _constants(self) -> dict[object, tuple[Callable[[], Tensor | None], int, Tensor]]:
        return {}


class RemoteIds(RemoteTensor):
    """The possibly remote ends of edges, int64 ``[num_edges]`` or a view of it that repeats each id."""

    whole: RemoteIndex | None

    @staticmethod
    def of(ids: Tensor, graph: RankGraph, whole: RemoteIndex | None = None) -> "RemoteIds":
        """Wrap extended ids; ``whole`` is the index of which they are one row."""
        remote = torch.Tensor._make_subclass(RemoteIds, ids)
        remote.graph, remote.whole = graph, whole
        return remote


def _loop_keys(graph: RankGraph) -> Tensor:
    return graph.num_global_edges + graph.node_ids


def _plain(value: Any) -> Any:
    if isinstance(value, RemoteTensor):
        return value.plain
    if isinstance(value, tuple | list):
        return type(value)(_plain(v) for v in value)
    return value


# What follows gives each supported operation its global meaning. Each takes the function and its arguments, with torch
# functions on subclasses disabled, and may answer NotImplemented.


def _same_kind(func: Callable[..., Any], self: Any, *args: Any, **kwargs: Any) -> Any:
    """A copy, cast, move or view: still the same edges."""
    if not isinstance(self, RemoteTensor):
        return func(self, *_plain(args), **kwargs)
    result = func(self.plain, *_plain(args), **kwargs)
    if isinstance(self, RemoteIds):
        return RemoteIds.of(result, self.graph)
    return RemoteIndex.make(result, self.graph, self.edge_keys, self.remote_row)  # pyright: ignore[reportAttributeAccessIssue]


def _view_of_ids(func: Callable[..., Any], self: Any, *args: Any, **kwargs: Any) -> Any:
    """A view that repeats ids keeps their meaning; of a whole index it would mix both ends."""
    return NotImplemented if isinstance(self, RemoteIndex) else _same_kind(func, self, *args, **kwargs)


def _itself(func: Callable[..., Any], self: Any, *args: Any, **kwargs: Any) -> Any:
    return self


def _ends(index: Any, row: int) -> Tensor:
    ids = index.plain[row]
    return RemoteIds.of(ids, index.graph, index) if row % 2 == index.remote_row else ids


def _getitem(func: Callable[..., Any], self: Any, key: Any) -> Any:
    if not isinstance(self, RemoteTensor):
        return _read_rows(self, key)
    if any(isinstance(k, RemoteTensor) for k in (key if isinstance(key, tuple) else (key,))):
        return NotImplemented
    if isinstance(self, RemoteIds):
        return RemoteIds.of(self.plain[key], self.graph)
    if isinstance(key, int):
        return _ends(self, key)
    if isinstance(key, tuple) and len(key) == 2 and isinstance(key[0], int):
        return _ends(self, key[0])[key[1]]
    if isinstance(key, tuple) and len(key) == 2 and key[0] == slice(None) and isinstance(key[1], Tensor | slice):
        return _choose_edges(self, key[1])  # pyright: ignore[reportArgumentType]
    return NotImplemented


def _setitem(func: Callable[..., Any], self: Any, key: Any, value: Any) -> Any:
    """Writing rows of this rank, as PyG does for the weights of self-loops; rows of other ranks cannot be written."""
    own = isinstance(key, RemoteIds) and bool((key.plain < key.graph.num_own).all())
    if not own or isinstance(self, RemoteTensor) or isinstance(value, RemoteTensor):
        return NotImplemented
    self[key.plain] = value
    return None


def _choose_edges(index: RemoteIndex, chosen: Any) -> RemoteIndex:
    if chosen is index.__dict__.get("is_no_loop"):
        return index.without_self_loops
    keys = None if index.edge_keys is None else index.edge_keys[chosen]
    return RemoteIndex.make(index.plain[:, chosen], index.graph, keys, index.remote_row)


def _read_rows(x: Tensor, key: Any) -> Any:
    """``x[ids]`` with x a tensor of owned rows."""
    if isinstance(key, RemoteIds):
        return _rows_by_id(x, 0, key)
    if (
        isinstance(key, tuple)
        and isinstance(key[0], RemoteIds)
        and not any(isinstance(k, RemoteTensor) for k in key[1:])
    ):
        return _rows_by_id(x, 0, key[0])[(slice(None), *key[1:])]
    return NotImplemented


def _rows_by_id(x: Tensor, dim: int, ids: RemoteIds) -> Tensor:
    _check_rows(x, dim, ids)
    rows = with_halo(x.movedim(dim, 0).contiguous(), ids.graph.halo)
    return rows[ids.plain].movedim(0, dim) if ids.dim() == 1 else rows[ids.plain]


def _check_rows(x: Tensor, dim: int, ids: RemoteIds) -> None:
    if x.size(dim) != ids.graph.num_own:
        raise UnsupportedOperation(
            f"the sources of a partitioned graph index tensors with one row per owned node ({ids.graph.num_own} here), "
            f"so that rows of other ranks can be fetched; this tensor has shape: {tuple(x.shape)}"
        )


def _index_select(func: Callable[..., Any], input: Any, dim: int, index: Any) -> Any:
    if isinstance(input, RemoteTensor) and isinstance(index, RemoteTensor):
        return NotImplemented
    if isinstance(input, RemoteIds):
        return RemoteIds.of(input.plain[index], input.graph)
    if isinstance(input, RemoteIndex):
        return _choose_edges(input, index) if dim in (1, -1) else NotImplemented
    return _rows_by_id(input, dim % input.dim(), index) if isinstance(index, RemoteIds) else NotImplemented


def _scatter_add(func: Callable[..., Any], self: Any, dim: int, index: Any, src: Tensor) -> Any:
    """Adding into owned rows by possibly remote ids: halo rows travel home. In place, because PyG relies on it."""
    if isinstance(self, RemoteTensor) or isinstance(src, RemoteTensor) or not isinstance(index, RemoteIds):
        return NotImplemented
    dim = dim % self.dim()
    _check_rows(self, dim, index)
    shape = list(self.shape)
    shape[dim] = index.graph.halo.num_extended
    everywhere = src.new_zeros(shape).scatter_add(dim, index.plain, src)
    home = without_halo(everywhere.movedim(dim, 0).contiguous(), index.graph.halo).movedim(0, dim)
    return self.add_(home) if func in _IN_PLACE else self + home


def _compare(func: Callable[..., Any], self: Any, other: Any) -> Any:
    """Equality of both ends of edges: an own row's extended id is its own id, so only self-loops are equal."""
    if isinstance(self, RemoteIndex) or isinstance(other, RemoteIndex):
        return NotImplemented
    ids, ends = (self, other) if isinstance(self, RemoteIds) else (other, self)
    if func in _NOT_EQUAL and ids.whole is not None and type(ends) is Tensor:
        other_row = ids.whole.plain[1 - ids.whole.remote_row]
        if ends.data_ptr() == other_row.data_ptr() and ends.shape == other_row.shape:
            return ids.whole.is_no_loop
    return func(_plain(self), _plain(other))


def _largest(func: Callable[..., Any], self: Any, *args: Any, **kwargs: Any) -> Any:
    """PyG infers the number of nodes from the largest id; it must find the rows of this rank's tensors."""
    return torch.tensor(self.graph.num_own - 1, device=self.plain.device) if not args and not kwargs else NotImplemented


def _cat(func: Callable[..., Any], tensors: Sequence[Tensor], dim: int = 0) -> Any:
    graph = next(t.graph for t in tensors if isinstance(t, RemoteTensor))
    if all(t.dim() == 1 for t in tensors):
        return RemoteIds.of(torch.cat(_plain(list(tensors))), graph)
    if dim not in (1, -1) or any(isinstance(t, RemoteIds) for t in tensors):
        return NotImplemented
    remote_row, *others = {t.remote_row for t in tensors if isinstance(t, RemoteIndex)}
    if others:
        return NotImplemented
    if len(tensors) == 2 and isinstance(tensors[0], RemoteIndex) and _is_one_loop_per_row(tensors[1], graph):
        return tensors[0].with_loops_appended
    keys = [t.edge_keys if isinstance(t, RemoteIndex) else _keys_of_appended(t, graph) for t in tensors]
    known = [k for k in keys if k is not None]
    all_keys = torch.cat(known) if len(known) == len(keys) else None
    return RemoteIndex.make(torch.cat(_plain(list(tensors)), dim=1), graph, all_keys, remote_row)


def _is_one_loop_per_row(ids: Tensor, graph: RankGraph) -> bool:
    if isinstance(ids, RemoteTensor) or ids.size(1) != graph.num_own:
        return False
    rows = torch.arange(graph.num_own, device=ids.device)
    return torch.equal(ids[0], rows) and torch.equal(ids[1], rows)


def _keys_of_appended(ids: Tensor, graph: RankGraph) -> Tensor | None:
    loops = torch.equal(ids[0], ids[1]) and (ids.numel() == 0 or int(ids[0].max()) < graph.num_own)
    return _loop_keys(graph)[ids[0]] if loops else None


def _stack(func: Callable[..., Any], tensors: Sequence[Tensor], dim: int = 0) -> Any:
    remote = [row for row, t in enumerate(tensors) if isinstance(t, RemoteIds)]
    if dim != 0 or len(tensors) != 2 or len(remote) != 1:
        return NotImplemented
    graph = tensors[remote[0]].graph  # pyright: ignore[reportAttributeAccessIssue]
    return RemoteIndex.make(torch.stack(_plain(list(tensors))), graph, None, remote[0])


def _flip(func: Callable[..., Any], self: RemoteIndex, *dims: Any) -> Any:
    if isinstance(self, RemoteIds) or dims not in ((0,), ([0],), ((0,),)):
        return NotImplemented
    return RemoteIndex.make(self.plain.flip(0), self.graph, self.edge_keys, 1 - self.remote_row)


def _unbind(func: Callable[..., Any], self: RemoteIndex, dim: int = 0) -> Any:
    return (_ends(self, 0), _ends(self, 1)) if dim == 0 and not isinstance(self, RemoteIds) else NotImplemented


def _select(func: Callable[..., Any], self: RemoteIndex, dim: int, index: int) -> Any:
    return _ends(self, index % 2) if dim == 0 and not isinstance(self, RemoteIds) else NotImplemented


_T = torch.Tensor
_IN_PLACE = {_T.scatter_add_}
_NOT_EQUAL = {_T.ne, torch.ne, _T.__ne__}
_MEANINGS: dict[Any, Callable[..., Any]] = {
    **dict.fromkeys(
        [_T.to, _T.clone, torch.clone, _T.contiguous, _T.detach, torch.detach, _T.cpu, _T.cuda, _T.long, _T.pin_memory],
        _same_kind,
    ),
    **dict.fromkeys(
        [_T.view, _T.reshape, _T.expand, _T.expand_as, _T.unsqueeze, torch.unsqueeze, _T.squeeze, torch.squeeze],
        _view_of_ids,
    ),
    _T.__deepcopy__: _itself,
    _T.requires_grad_: _itself,
    _T.__getitem__: _getitem,
    _T.__setitem__: _setitem,
    **dict.fromkeys([_T.index_select, torch.index_select], _index_select),
    **dict.fromkeys([_T.scatter_add_, _T.scatter_add, torch.scatter_add], _scatter_add),
    **dict.fromkeys([_T.ne, torch.ne, _T.eq, torch.eq, _T.__ne__, _T.__eq__], _compare),
    **dict.fromkeys([_T.max, torch.max, _T.amax, torch.amax], _largest),
    **dict.fromkeys([torch.cat, torch.concat, torch.concatenate], _cat),
    torch.stack: _stack,
    **dict.fromkeys([_T.flip, torch.flip], _flip),
    **dict.fromkeys([_T.unbind, torch.unbind], _unbind),
    **dict.fromkeys([_T.select, torch.select], _select),
}
_STRUCTURE: set[Any] = {
    _T.size,
    _T.dim,
    _T.ndimension,
    _T.numel,
    torch.numel,
    _T.nelement,
    _T.element_size,
    _T.stride,
    _T.storage_offset,
    _T.untyped_storage,
    _T.data_ptr,
    _T.get_device,
    _T.is_contiguous,
    _T.is_floating_point,
    torch.is_floating_point,
    _T.is_complex,
    torch.is_complex,
    _T.is_shared,
    _T.type,
    _T.__len__,
    _T.__repr__,
    _T.__hash__,
    _T.as_subclass,
    *(
        getattr(_T, name).__get__
        for name in (
            "shape",
            "dtype",
            "device",
            "layout",
            "ndim",
            "is_cuda",
            "is_cpu",
            "is_sparse",
            "is_sparse_csr",
            "is_quantized",
            "is_mkldnn",
            "is_meta",
            "is_nested",
            "is_leaf",
            "requires_grad",
            "grad",
            "grad_fn",
            "_version",
            "nbytes",
            "itemsize",
        )
    ),
}
