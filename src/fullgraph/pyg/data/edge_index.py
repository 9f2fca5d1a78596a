"""An ``edge_index`` as `Rows`: ``[2, num_edges]`` of the whole graph, with ids that are made when a program reads them.

A script holds its ``edge_index`` all the time and mostly hands it on, so it takes no memory: what a layer needs is the
stored walk (`Edges`). Choosing edges, flipping, and adding self-loops keep it so; whatever else is done to it is done
to ids of the whole graph, 8 bytes each.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from fullgraph.pyg.data.edges import Edges, settled
from fullgraph.rows import Here, Rows, Space, local, rows
from fullgraph.rows.alignment import at_rows
from fullgraph.rows.calls import mapped, name_of
from fullgraph.rows.metadata import ABOUT
from fullgraph.rows.routes import ways_of
from fullgraph.rows.tensor import functions_off


class _Lazy(Rows):
    """`Rows` of ids whose memory is a single number until they are read."""

    _make: Callable[[], Tensor]
    _is_lazy = True

    @property
    def read(self) -> Rows:
        """The ids, as ordinary `Rows` that know the same ways; kept from the first time on. May be collective."""
        known = self.__dict__.get("_read")
        if known is None:
            known = rows(self._make(), self._space, self._dim)
            vars(known)["_ways"] = ways_of(self)
            vars(self)["_read"] = known
        return known

    @classmethod
    @torch._disable_dynamo  # pyright: ignore[reportPrivateImportUsage]
    def __torch_function__(
        cls, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = name_of(func)
        meaning = LAZY.get(name)
        if meaning is None and name in ABOUT:
            return Rows.__torch_function__(func, types, args, kwargs)
        if meaning is not None:
            with functions_off():
                answer = meaning(func, *args, **kwargs)
            if answer is not NotImplemented:
                return answer
        args, kwargs = mapped((args, kwargs), lambda x: x.read if isinstance(x, _Lazy) else x)
        return func(*args, **kwargs)


class EdgeRows(_Lazy):
    """Both ends of edges, ``[2, num_edges]``: sources first, or destinations if they are flipped."""

    _edges: Edges
    _flipped: bool

    @staticmethod
    def of(edges: Edges, flipped: bool = False) -> "EdgeRows":
        """``edge_index`` of these edges."""
        index: Any = rows(_nothing(edges, 2), edges.space, 1)
        index.__class__ = EdgeRows
        index._edges, index._flipped = edges, flipped
        index._make = lambda: torch.stack([_ids(edges, flipped), _ids(edges, not flipped)])
        return index

    @property
    def walked(self) -> Edges:
        """What a layer walks over: from the first row's ids to the second's."""
        return self._edges.reversed if self._flipped else self._edges


class EndRows(_Lazy):
    """One end of edges, ``[num_edges]``: ids of sources or of destinations."""

    _edges: Edges
    _is_dst: bool

    @staticmethod
    def of(edges: Edges, is_dst: bool) -> "EndRows":
        """The ids of one end."""
        ends: Any = rows(_nothing(edges), edges.space, 0)
        ends.__class__ = EndRows
        ends._edges, ends._is_dst, ends._make = edges, is_dst, lambda: _ids(edges, is_dst).clone()
        space, way = (edges.dst_space, edges.way_to_dst) if is_dst else (edges.src_space, edges.way_to_src)
        ways_of(ends)[space] = (ends._version, way)
        return ends


def edges_of(edge_index: Tensor, src_space: Space, dst_space: Space) -> Edges:
    """What a layer walks over when it is given ``edge_index``, `Rows` ``[2, num_edges]``, beside rows of two spaces.

    Collective the first time, if it is not an opened graph's own.
    """
    with functions_off():
        if isinstance(edge_index, EdgeRows):
            return edge_index.walked
        known = edge_index.__dict__.get("_settled")
        if known is not None and known[0] == edge_index._version and known[1:3] == (src_space, dst_space):
            return known[3]
        src, dst = local(edge_index)
        edges = settled(edge_index._space, src, dst, src_space, dst_space)  # pyright: ignore[reportAttributeAccessIssue]
        vars(edge_index)["_settled"] = (edge_index._version, src_space, dst_space, edges)
        return edges


def _nothing(edges: Edges, *shape: int) -> Tensor:
    return torch.zeros((), dtype=torch.int64, device=edges.device).expand(*shape, edges.space.num_own)


def _ids(edges: Edges, is_dst: bool) -> Tensor:
    return edges.dst_ids if is_dst else edges.src_ids


def _itself(func: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
    """A copy or view of what cannot be changed in place."""
    if not isinstance(x, EdgeRows | EndRows):
        return NotImplemented
    wanted = [a for a in (*args, *kwargs.values()) if isinstance(a, torch.dtype | torch.device | str)]
    if any(isinstance(a, torch.dtype) and a != torch.int64 for a in wanted):
        return NotImplemented
    if any(torch.device(a).type != x.device.type for a in wanted if isinstance(a, torch.device | str)):
        return NotImplemented
    return x


def _never(func: Any, x: Any, wanted: bool = True) -> Any:
    """Checkpointing sets it on all tensors alike, to what it was: ids have no gradient."""
    return NotImplemented if wanted else x


def _is_contiguous(func: Any, x: Any, *args: Any, **kwargs: Any) -> bool:
    """As the ids will be when they are read."""
    return True


def _end(index: EdgeRows, row: int) -> EndRows:
    return EndRows.of(index._edges, (row % 2 == 1) != index._flipped)


def _getitem(func: Any, x: Any, key: Any) -> Any:
    if isinstance(x, EndRows):
        edges = _chosen(x._edges, key)
        return NotImplemented if edges is None else EndRows.of(edges, x._is_dst)
    if not isinstance(x, EdgeRows):
        return NotImplemented
    if isinstance(key, int) and not isinstance(key, bool):
        return _end(x, key)
    if isinstance(key, list) and key in ([1, 0], [0, 1]):
        return EdgeRows.of(x._edges, x._flipped != (key == [1, 0]))
    if not (isinstance(key, tuple) and len(key) == 2):
        return NotImplemented
    which, columns = key
    if isinstance(which, int) and not isinstance(which, bool):
        if isinstance(columns, slice) and columns == slice(None):
            return _end(x, which)
        return _getitem(func, _end(x, which), columns)
    if which == slice(None) if isinstance(which, slice) else which is Ellipsis:
        edges = _chosen(x._edges, columns)
        return NotImplemented if edges is None else EdgeRows.of(edges, x._flipped)
    return NotImplemented


def _chosen(edges: Edges, key: Any) -> Edges | None:
    """The edges at a mask, at ids that every rank has, or of a slice; None for any other key."""
    space = edges.space
    if isinstance(key, slice):
        start, stop, step = key.indices(space.num_rows)
        return edges.chosen(space.sliced(start, stop, step)) if step > 0 and key != slice(None) else None
    if not isinstance(key, Tensor) or key.dim() != 1:
        return None
    if key.dtype == torch.bool:
        if key.shape[0] != (key._space.num_own if isinstance(key, Rows) else space.num_rows):
            return None
        if isinstance(key, Rows) and key._space.num_rows != space.num_rows:
            return None
        own = key if isinstance(key, Rows) and key._space == space else at_rows("__getitem__", key, space)
        return edges.chosen(space.subset(own))
    if isinstance(key, Rows) or key.dtype not in (torch.int64, torch.int32):
        return None
    return edges.chosen(space.at(key))


def _index_select(func: Any, input: Any, dim: int, index: Any, out: Any = None) -> Any:
    if out is not None:
        return NotImplemented
    if isinstance(input, EdgeRows) and dim in (1, -1):
        return _getitem(func, input, (slice(None), index))
    if isinstance(input, EndRows):
        return _getitem(func, input, index)
    return NotImplemented


def _select(func: Any, x: Any, dim: int = 0, index: int = 0) -> Any:
    return _end(x, index) if isinstance(x, EdgeRows) and dim in (0, -2) else NotImplemented


def _unbind(func: Any, x: Any, dim: int = 0) -> Any:
    return (_end(x, 0), _end(x, 1)) if isinstance(x, EdgeRows) and dim in (0, -2) else NotImplemented


def _flip(func: Any, x: Any, *dims: Any) -> Any:
    if not isinstance(x, EdgeRows) or dims not in ((0,), ([0],), ((0,),)):
        return NotImplemented
    return EdgeRows.of(x._edges, not x._flipped)


def _not_equal(func: Any, one: Any, other: Any) -> Any:
    """Both ends of the same edges: which are no self-loops."""
    both = isinstance(one, EndRows) and isinstance(other, EndRows) and one._edges is other._edges
    if not both or one._is_dst == other._is_dst or not one._edges.is_square:
        return NotImplemented
    known = one._edges.__dict__.get("rows_that_are_no_loops")
    if known is None:
        known = vars(one._edges)["rows_that_are_no_loops"] = rows(one._edges.find_no_loops(), one._edges.space)
    return known


def _cat(func: Any, tensors: Any, dim: int = 0, **kwargs: Any) -> Any:
    tensors = list(tensors)
    if len(tensors) != 2 or dim not in (1, -1) or not isinstance(tensors[0], EdgeRows) or kwargs:
        return NotImplemented
    first, second = tensors
    edges = first._edges
    if isinstance(second, EdgeRows):
        same = second._flipped == first._flipped and second._edges.halo is edges.halo
        if not same or second._edges.dst_space != edges.dst_space:
            return NotImplemented
        more = second._edges
        return EdgeRows.of(edges.followed_by(more.space, more.ends), first._flipped)
    loops = _ends_of_loops(second)
    if loops is None or not edges.is_square or second._space != edges.dst_space:
        return NotImplemented
    if torch.equal(loops, torch.arange(edges.num_dst, device=loops.device)):
        return EdgeRows.of(edges.with_loops_appended, first._flipped)
    return NotImplemented


def _ends_of_loops(x: Any) -> Tensor | None:
    """The own rows at both ends, if ``x`` ``[2, n]`` is one list of ids repeated, each of a row of this rank."""
    if not isinstance(x, Rows) or x.dim() != 2 or x._dim != 1 or x.shape[0] != 2:
        return None
    known = ways_of(x).get(x._space)
    return known[1].local if known is not None and known[0] == x._version and isinstance(known[1], Here) else None


ITSELF = ("to", "clone", "contiguous", "cpu", "cuda", "long", "detach", "pin_memory", "__deepcopy__")
"""Functions that copy or view ids, or move them to where they are."""

LAZY: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(ITSELF, _itself),
    "is_contiguous": _is_contiguous,
    "requires_grad=": _never,
    "requires_grad_": _never,
    "__getitem__": _getitem,
    "index_select": _index_select,
    "select": _select,
    "unbind": _unbind,
    "flip": _flip,
    "ne": _not_equal,
    "__ne__": _not_equal,
    "not_equal": _not_equal,
    "cat": _cat,
    "concat": _cat,
}
"""What can be done to lazy ids without reading them."""
