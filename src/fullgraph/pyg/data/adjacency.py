"""``data.adj_t``, as `ToSparseTensor` names the edges: for layers alone, which take it as they take ``edge_index``.

A matrix would be something else to everything that a script does with it by itself.
"""

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import torch

from fullgraph.errors import UnsupportedOperation
from fullgraph.pyg.data.edge_index import LAZY, EdgeRows
from fullgraph.rows.calls import name_of
from fullgraph.rows.metadata import ABOUT

_KNOWN = (ABOUT | LAZY.keys() | {"__repr__", "__str__", "__format__"}) - {
    "shape",
    "size",
    "__len__",
    "numel",
    "nelement",
}


class _NoMatrix(UnsupportedOperation, AttributeError):
    """Is an `AttributeError` too, so that a program may ask whether there is an attribute."""


class Adjacency(EdgeRows):
    """An ``edge_index`` that is refused wherever a matrix would be meant."""

    @staticmethod
    def of_edges(edge_index: EdgeRows) -> "Adjacency":
        """The same edges under the other name."""
        adjacency: Any = EdgeRows.of(edge_index.walked)
        adjacency.__class__ = Adjacency
        return adjacency

    @classmethod
    @torch._disable_dynamo  # pyright: ignore[reportPrivateImportUsage]
    def __torch_function__(
        cls, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = name_of(func)
        if name not in _KNOWN:
            _refuse(name)
        return super().__torch_function__(func, types, args, kwargs)

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(name)
        _refuse(name)


def _refuse(name: str) -> NoReturn:
    raise _NoMatrix(
        f"adj_t.{name}: adj_t is the edges under that name, for layers to take, and no matrix; write it with "
        "data.edge_index, degree(data.edge_index[1]) and layers' own normalisation: see docs/your-model.md"
    )
