"""Dropout and random numbers for rows, keyed by global ids: the same on any number of ranks, in backward too."""

import sys
from collections.abc import Callable
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from fullgraph.engine import keyed_dropout, keyed_normal, keyed_uniform
from fullgraph.errors import UnsupportedOperation
from fullgraph.pyg.rank_graph import RankGraph
from fullgraph.pyg.rules.pruned import RowWise
from fullgraph.pyg.rules.ways import Choice, Way


class Dropout(RowWise, torch.nn.Dropout):
    """Masks keyed by the rows' original ids.

    Attributes:
        may_overwrite: whether nobody looks at its input again; then the result goes there if no operation needs that.
    """

    may_overwrite = False

    def choice(self) -> Choice:
        """Row-wise."""
        return Choice(Way.ROW_WISE, "masks keyed by global ids")

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or not self.p:
            return input
        recipes = self.rank_graph.recipes
        is_spare = self.may_overwrite and recipes is not None and recipes.is_kept_by_none(input)
        return drop(input, self.p, self.rank_graph, overwrites=self.inplace or is_spare)


def drop(x: Tensor, p: float, graph: RankGraph, *, overwrites: bool = False) -> Tensor:
    """Draw the next mask and apply it; to ``x`` itself, if it ``overwrites``."""
    key, row_keys, recipes = graph.randomness.draw(), graph.row_keys(len(x)), graph.recipes
    before = None if recipes is None else recipes.origin(x)
    out = keyed_dropout(x, p, key, row_keys, overwrites=overwrites)
    if recipes is not None and before is not None:
        recipes.note(out, before, lambda x, places: keyed_dropout(x, p, key, row_keys[places]))
    return out


class KeyedDraws(TorchFunctionMode):
    """While it is active, dropout as a function and random numbers for rows are keyed by global ids too."""

    def __init__(self, graph: RankGraph):
        super().__init__()
        self._graph = graph

    def __enter__(self) -> Self:
        self._before, self._graph.draws_are_keyed = self._graph.draws_are_keyed, True
        return super().__enter__()

    def __exit__(self, *exception: Any) -> None:
        self._graph.draws_are_keyed = self._before
        super().__exit__(*exception)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.dropout:
            return self._dropout(*args, **kwargs)
        if func in _UNKEYED and kwargs.get("training", True):
            raise UnsupportedOperation(
                f"this kind of dropout would differ with the number of ranks; use torch.nn.Dropout: {func.__name__}"
            )
        if func in _DRAWS:
            return self._draw(func, args, kwargs)
        if func in _REFUSED_DRAWS:
            raise UnsupportedOperation(
                "each rank would draw numbers of its own here; draw them before training and store them in the graph, "
                f"or use torch.rand or torch.randn with a row per node or edge: {func.__name__}"
            )
        return func(*args, **kwargs)

    def _draw(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        _check_not_recomputed(func)
        if kwargs.pop("generator", None) is not None:
            raise UnsupportedOperation(
                "numbers for the rows of a partitioned graph are drawn by global ids, not from a generator; leave out "
                f"the argument generator of: {func.__name__}"
            )
        shape_of, draw = _DRAWS[func]
        like = shape_of(*args, **kwargs)
        keys = self._graph.row_keys(len(like) if like.dim() else 0)
        drawn = draw(tuple(like.shape), self._graph.randomness.draw(), keys, like.dtype)
        if func in _BERNOULLI:
            drawn = (drawn < args[0]).to(like.dtype)
        return drawn.requires_grad_(like.requires_grad)

    def _dropout(self, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        if not training or p == 0:
            return input
        _check_not_recomputed(F.dropout)
        return drop(input, p, self._graph, overwrites=inplace)


def _check_not_recomputed(func: Callable[..., Any]) -> None:
    """What is recomputed in backward runs outside of this mode, and would draw from torch's own generator."""
    frame = sys._getframe()
    while frame is not None and frame.f_globals.get("__name__") not in _RECOMPUTING:
        frame = frame.f_back
    if frame is not None or torch._C._autograd._top_saved_tensors_default_hooks(False) is not None:  # pyright: ignore[reportAttributeAccessIssue]
        raise UnsupportedOperation(
            f"{func.__name__} inside torch.utils.checkpoint, or GroupAddRev, would draw other numbers when it is "
            "recomputed; leave that part of the model out of the checkpoint"
        )


_RECOMPUTING = {"torch.utils.checkpoint", "torch_geometric.nn.models.rev_gnn"}
_BERNOULLI = {torch.bernoulli, Tensor.bernoulli}
_DRAWS: dict[Any, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = {
    torch.rand: (torch.empty, keyed_uniform),
    torch.randn: (torch.empty, keyed_normal),
    torch.rand_like: (torch.empty_like, keyed_uniform),
    torch.randn_like: (torch.empty_like, keyed_normal),
    **dict.fromkeys(_BERNOULLI, (torch.empty_like, keyed_uniform)),
}
_REFUSED_DRAWS = {
    torch.randint,
    torch.randint_like,
    torch.randperm,
    torch.normal,
    torch.poisson,
    torch.multinomial,
    Tensor.multinomial,
    Tensor.uniform_,
    Tensor.normal_,
    Tensor.bernoulli_,
    Tensor.random_,
    Tensor.exponential_,
    Tensor.cauchy_,
    Tensor.geometric_,
    Tensor.log_normal_,
    F.gumbel_softmax,
}
_UNKEYED = {F.alpha_dropout, F.feature_alpha_dropout, F.dropout1d, F.dropout2d, F.dropout3d}
