"""What each operation on a remote-aware index means on the whole graph; what is not listed here is refused by name.

Each function takes the torch function and its arguments, with torch functions on subclasses disabled, and may answer
NotImplemented.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from fullgraph import engine
from fullgraph.engine import with_halo, without_halo
from fullgraph.errors import UnsupportedOperation
from fullgraph.pyg.callers import check_caller
from fullgraph.pyg.index import RemoteIds, RemoteIndex, RemoteTensor, choose_edges
from fullgraph.pyg.rank_graph import RankRelation


def _plain(value: Any) -> Any:
    if isinstance(value, RemoteTensor):
        return value.plain
    if isinstance(value, tuple | list):
        return type(value)(_plain(v) for v in value)
    return value


def _same_kind(func: Callable[..., Any], self: Any, *args: Any, **kwargs: Any) -> Any:
    """A copy, cast, move or view: still the same edges."""
    if not isinstance(self, RemoteTensor):
        return func(self, *_plain(args), **kwargs)
    result = func(self.plain, *_plain(args), **kwargs)
    if isinstance(self, RemoteIds):
        return RemoteIds.of(result, self.relation)
    return RemoteIndex.make(result, self.relation, self.edge_keys, self.remote_row)  # pyright: ignore[reportAttributeAccessIssue]


def _view_of_ids(func: Callable[..., Any], self: Any, *args: Any, **kwargs: Any) -> Any:
    """A view that repeats ids keeps their meaning; of a whole index it would mix both ends."""
    return NotImplemented if isinstance(self, RemoteIndex) else _same_kind(func, self, *args, **kwargs)


def _itself(func: Callable[..., Any], self: Any, *args: Any, **kwargs: Any) -> Any:
    return self


def _needs_gradient(func: Callable[..., Any], self: Any, wanted: bool) -> Any:
    """Checkpointing sets it on all tensors alike, to what it was: ids have no gradient."""
    return NotImplemented if wanted else None


def _new(func: Callable[..., Any], self: Any, *args: Any, **kwargs: Any) -> Any:
    """A tensor of the same kind that holds other numbers."""
    return func(self.plain, *args, **kwargs)


def _ends(index: Any, row: int) -> Tensor:
    ids = index.plain[row]
    return RemoteIds.of(ids, index.relation, index) if row % 2 == index.remote_row else ids


def _getitem(func: Callable[..., Any], self: Any, key: Any) -> Any:
    for remote in (t for t in (self, *_entries(key)) if isinstance(t, RemoteTensor)):
        check_caller(draws_are_keyed=remote.graph.draws_are_keyed)
    if not isinstance(self, RemoteTensor):
        return _read_rows(self, key)
    if any(isinstance(k, RemoteTensor) for k in _entries(key)):
        return NotImplemented
    if isinstance(self, RemoteIds):
        return RemoteIds.of(self.plain[key], self.relation)
    if isinstance(key, int):
        return _ends(self, key)
    if isinstance(key, tuple) and len(key) == 2 and isinstance(key[0], int):
        return _ends(self, key[0])[key[1]]
    if isinstance(key, tuple) and len(key) == 2 and key[0] == slice(None) and isinstance(key[1], Tensor | slice):
        return choose_edges(self, key[1])  # pyright: ignore[reportArgumentType]
    return NotImplemented


def _entries(key: Any) -> tuple[Any, ...]:
    return key if isinstance(key, tuple) else (key,)


def _setitem(func: Callable[..., Any], self: Any, key: Any, value: Any) -> Any:
    """Writing rows of this rank, as PyG does for the weights of self-loops; rows of other ranks cannot be written."""
    own = isinstance(key, RemoteIds) and bool((key.plain < key.relation.num_src).all())
    if not own or isinstance(self, RemoteTensor) or isinstance(value, RemoteTensor):
        return NotImplemented
    self[key.plain] = value
    return None


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
    rows = with_halo(x.movedim(dim, 0).contiguous(), ids.relation.halo, packs=True)
    return rows[ids.plain].movedim(0, dim) if ids.dim() == 1 else rows[ids.plain]


def _check_rows(x: Tensor, dim: int, ids: RemoteIds) -> None:
    if x.size(dim) != ids.relation.num_src:
        raise UnsupportedOperation(
            f"the sources of a partitioned graph index tensors with one row per owned node ({ids.relation.num_src} "
            f"here), so that rows of other ranks can be fetched; this tensor has shape: {tuple(x.shape)}"
        )


def _index_select(func: Callable[..., Any], input: Any, dim: int, index: Any) -> Any:
    if isinstance(input, RemoteTensor) and isinstance(index, RemoteTensor):
        return NotImplemented
    if isinstance(input, RemoteIds):
        return RemoteIds.of(input.plain[index], input.relation)
    if isinstance(input, RemoteIndex):
        return choose_edges(input, index) if dim in (1, -1) else NotImplemented
    return _rows_by_id(input, dim % input.dim(), index) if isinstance(index, RemoteIds) else NotImplemented


def _scatter_add(func: Callable[..., Any], self: Any, dim: int, index: Any, src: Tensor) -> Any:
    """Adding into owned rows by possibly remote ids: halo rows travel home. In place, because PyG relies on it."""
    if isinstance(self, RemoteTensor) or isinstance(src, RemoteTensor) or not isinstance(index, RemoteIds):
        return NotImplemented
    dim = dim % self.dim()
    _check_rows(self, dim, index)
    shape = list(self.shape)
    shape[dim] = index.relation.halo.num_extended
    everywhere = src.new_zeros(shape).scatter_add(dim, index.plain, src)
    home = without_halo(everywhere.movedim(dim, 0).contiguous(), index.relation.halo).movedim(0, dim)
    return self.add_(home) if func in _IN_PLACE else self + home


def _compare(func: Callable[..., Any], self: Any, other: Any) -> Any:
    """Equality of both ends of edges: an own row's extended id is its own id, so only self-loops are equal."""
    if isinstance(self, RemoteIndex) or isinstance(other, RemoteIndex):
        return NotImplemented
    ids, ends = (self, other) if isinstance(self, RemoteIds) else (other, self)
    ids.relation.check_square()
    check_caller(draws_are_keyed=ids.graph.draws_are_keyed)
    if func in _NOT_EQUAL and ids.whole is not None and type(ends) is Tensor:
        other_row = ids.whole.plain[1 - ids.whole.remote_row]
        if ends.data_ptr() == other_row.data_ptr() and ends.shape == other_row.shape:
            return ids.whole.is_no_loop
    return func(_plain(self), _plain(other))


def _largest(func: Callable[..., Any], self: Any, *args: Any, **kwargs: Any) -> Any:
    """PyG infers the number of nodes from the largest id; it must find the rows of this rank's tensors."""
    relation = self.relation
    rows = relation.num_src if isinstance(self, RemoteIds) else max(relation.num_src, relation.num_dst)
    return torch.tensor(rows - 1, device=self.plain.device) if not args and not kwargs else NotImplemented


def _cat(func: Callable[..., Any], tensors: Sequence[Tensor], dim: int = 0) -> Any:
    relation, *other_relations = {id(t.relation): t.relation for t in tensors if isinstance(t, RemoteTensor)}.values()
    if other_relations:
        return NotImplemented
    if all(t.dim() == 1 for t in tensors):
        return RemoteIds.of(torch.cat(_plain(list(tensors))), relation)
    if dim not in (1, -1) or any(isinstance(t, RemoteIds) for t in tensors):
        return NotImplemented
    remote_row, *others = {t.remote_row for t in tensors if isinstance(t, RemoteIndex)}
    if others:
        return NotImplemented
    if len(tensors) == 2 and isinstance(tensors[0], RemoteIndex) and _is_one_loop_per_row(tensors[1], relation):
        return tensors[0].with_loops_appended
    keys = [t.edge_keys if isinstance(t, RemoteIndex) else _keys_of_appended(t, relation) for t in tensors]
    known = [k for k in keys if k is not None]
    all_keys = torch.cat(known) if len(known) == len(keys) else None
    return RemoteIndex.make(torch.cat(_plain(list(tensors)), dim=1), relation, all_keys, remote_row)


def _is_one_loop_per_row(ids: Tensor, relation: RankRelation) -> bool:
    if isinstance(ids, RemoteTensor) or not relation.square or ids.size(1) != relation.num_dst:
        return False
    rows = torch.arange(relation.num_dst, device=ids.device)
    return torch.equal(ids[0], rows) and torch.equal(ids[1], rows)


def _keys_of_appended(ids: Tensor, relation: RankRelation) -> Tensor | None:
    relation.check_square()
    loops = torch.equal(ids[0], ids[1]) and (ids.numel() == 0 or int(ids[0].max()) < relation.num_dst)
    return relation.loop_keys[ids[0]] if loops else None


def _stack(func: Callable[..., Any], tensors: Sequence[Tensor], dim: int = 0) -> Any:
    remote = [row for row, t in enumerate(tensors) if isinstance(t, RemoteIds)]
    if dim != 0 or len(tensors) != 2 or len(remote) != 1:
        return NotImplemented
    relation = tensors[remote[0]].relation  # pyright: ignore[reportAttributeAccessIssue]
    return RemoteIndex.make(torch.stack(_plain(list(tensors))), relation, None, remote[0])


def _flip(func: Callable[..., Any], self: RemoteIndex, *dims: Any) -> Any:
    if isinstance(self, RemoteIds) or dims not in ((0,), ([0],), ((0,),)):
        return NotImplemented
    return RemoteIndex.make(self.plain.flip(0), self.relation, self.edge_keys, 1 - self.remote_row)


def _unbind(func: Callable[..., Any], self: RemoteIndex, dim: int = 0) -> Any:
    return (_ends(self, 0), _ends(self, 1)) if dim == 0 and not isinstance(self, RemoteIds) else NotImplemented


def _select(func: Callable[..., Any], self: RemoteIndex, dim: int, index: int) -> Any:
    return _ends(self, index % 2) if dim == 0 and not isinstance(self, RemoteIds) else NotImplemented


_T = torch.Tensor
_IN_PLACE = {_T.scatter_add_}
ITSELF: set[Any] = {_T.__deepcopy__, _T.detach, torch.detach}
_NOT_EQUAL = {_T.ne, torch.ne, _T.__ne__}
MEANINGS: dict[Any, Callable[..., Any]] = {
    **dict.fromkeys(
        [_T.to, _T.clone, torch.clone, _T.contiguous, _T.cpu, _T.cuda, _T.long, _T.pin_memory],
        _same_kind,
    ),
    **dict.fromkeys(
        [_T.view, _T.reshape, _T.expand, _T.expand_as, _T.unsqueeze, torch.unsqueeze, _T.squeeze, torch.squeeze],
        _view_of_ids,
    ),
    **dict.fromkeys(ITSELF, _itself),
    _T.requires_grad.__set__: _needs_gradient,  # pyright: ignore[reportAttributeAccessIssue]
    _T.requires_grad_: _itself,
    _T.new_ones: _new,
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
STRUCTURE = engine.STRUCTURE | {
    _T.stride,
    _T.storage_offset,
    _T.untyped_storage,
    _T.data_ptr,
    _T.is_contiguous,
    _T.is_shared,
    _T.type,
    _T.__repr__,
    _T.as_subclass,
    _T.nbytes.__get__,  # pyright: ignore[reportAttributeAccessIssue]
}
