"""Attention layers as one fused, rematerialised pass: no score, weight or message is ever stored per edge.

With edge attributes that enter the score feature by feature, or with another aggregation, a layer runs its own code on
complete neighbourhoods; asked for its attention weights, over the remote-aware index. The result is the same.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
import torch_geometric.nn as pyg
from torch import Tensor
from torch_geometric.nn.aggr import SumAggregation
from torch_geometric.utils import add_self_loops, remove_self_loops

from fullgraph.engine import (
    Additive,
    BothEnds,
    DotProduct,
    EdgeDropout,
    HeldRows,
    InputRows,
    attend,
    held_rows,
    input_rows,
    linear,
    unchanged,
)
from fullgraph.errors import UnsupportedOperation
from fullgraph.pyg.index import RemoteIndex
from fullgraph.pyg.levels import LevelIndex
from fullgraph.pyg.rules.any_layer import AnyLayer
from fullgraph.pyg.rules.pruned import Prunable
from fullgraph.pyg.rules.ways import Choice, Way, can_walk, is_plain_linear, weights_wanted, why_not_sequential


class Attending(AnyLayer):
    """A layer whose attention the engine has a kernel for."""

    def choice(self) -> Choice:
        if why_not_sequential(self) is not None or type(self.aggr_module) is not SumAggregation:
            return super().choice()
        return Choice(Way.WALK, "fused attention")


class _AttentionWithoutEdges(Prunable, Attending):
    def choice(self) -> Choice:
        if self.edge_dim is None:
            return super().choice()
        return super(Attending, self).choice()


class _WithSelfLoops(Prunable, Attending):
    """Adds self-loops and their attributes, unless they were added before the edges were restricted to a level."""

    add_self_loops: bool

    def walked_index(self, edge_index: RemoteIndex) -> RemoteIndex:
        return edge_index.with_self_loops if self._adds_loops_to(edge_index) else edge_index

    def on_whole_graph(self, x: Tensor, edge_index: RemoteIndex, values: Tensor | None) -> tuple[RemoteIndex, Any]:
        if values is not None and self._adds_loops_to(edge_index):
            values = with_loop_attributes(edge_index, values, self.fill_value)
        return self.walked_index(edge_index), values

    def why_not_pruned(self, given: dict[str, Any]) -> str | None:
        if self.add_self_loops and self.choice().way is not Way.WALK:
            return "it does not walk, and adds self-loops"
        return super().why_not_pruned(given)

    def _adds_loops_to(self, edge_index: RemoteIndex) -> bool:
        return self.add_self_loops and not isinstance(edge_index, LevelIndex)


class GATConv(_WithSelfLoops, pyg.GATConv):
    """Veličković 2018."""

    def forward(
        self,
        x: Any,
        edge_index: Any,
        edge_attr: Tensor | None = None,
        size: Any = None,
        return_attention_weights: Any = None,
    ) -> Any:
        x_src, x_dst = (x, x) if isinstance(x, Tensor) else x
        if not can_attend(self, edge_index, x_src, x_dst, size, return_attention_weights):
            return super().forward(x, edge_index, edge_attr, size, return_attention_weights=return_attention_weights)
        lin_src, lin_dst = (self.lin_src, self.lin_dst) if self.lin is None else (self.lin, self.lin)
        projected = _projected(self, lin_src, x_src)
        if lin_src is lin_dst and x_src is x_dst:
            score_src, score_dst = _scores(lin_src, x_src, self.att_src, self.att_dst)
        else:
            (score_src,), (score_dst,) = _scores(lin_src, x_src, self.att_src), _scores(lin_dst, x_dst, self.att_dst)
        walked, edge_attr = self.on_whole_graph(x_src, edge_index, edge_attr)
        out = attend(
            Additive(self.negative_slope),
            walked.plan,
            (projected, score_src),
            (score_dst,),
            bias=self._edge_scores(edge_attr),
            dropout=attention_dropout(self, walked),
            here=_here(self, walked, x_src, (lin_src,), lambda x: _scores(lin_src, x, self.att_src)),
            averages_heads=not self.concat,
        )
        return finished(self, out, x_dst)

    def _edge_scores(self, edge_attr: Tensor | None) -> Tensor | None:
        """``[num_edges, heads]``, without the projected attributes, which would be E × H × C."""
        if edge_attr is None or self.lin_edge is None:
            return None
        (scores,) = _scores(self.lin_edge, edge_attr if edge_attr.dim() > 1 else edge_attr.unsqueeze(1), self.att_edge)
        return scores


class GATv2Conv(_WithSelfLoops, _AttentionWithoutEdges, pyg.GATv2Conv):  # pyright: ignore[reportIncompatibleMethodOverride]
    """Brody 2022. Edge attributes enter its score feature by feature, so with them its own code runs."""

    def forward(
        self, x: Any, edge_index: Any, edge_attr: Tensor | None = None, return_attention_weights: Any = None
    ) -> Any:
        x_src, x_dst = (x, x) if isinstance(x, Tensor) else x
        can = can_attend(self, edge_index, x_src, x_dst, None, return_attention_weights)
        if not can or edge_attr is not None:
            return super().forward(x, edge_index, edge_attr, return_attention_weights=return_attention_weights)
        left = _projected(self, self.lin_l, x_src)
        right = left if x_dst is x_src and self.share_weights else _projected(self, self.lin_r, x_dst)
        walked = self.walked_index(edge_index)
        out = attend(
            BothEnds(self.negative_slope),
            walked.plan,
            (left,),
            (right,),
            (self.att.squeeze(0),),
            dropout=attention_dropout(self, walked),
            here=_here(self, walked, x_src, (self.lin_l,)),
            averages_heads=not self.concat,
        )
        return finished(self, out, x_dst)


class TransformerConv(_AttentionWithoutEdges, pyg.TransformerConv):
    """Shi 2021. Edge attributes enter its keys and values feature by feature, so with them its own code runs."""

    def walked_index(self, edge_index: RemoteIndex) -> RemoteIndex:
        return edge_index

    def forward(
        self, x: Any, edge_index: Any, edge_attr: Tensor | None = None, return_attention_weights: Any = None
    ) -> Any:
        x_src, x_dst = (x, x) if isinstance(x, Tensor) else x
        can = can_attend(self, edge_index, x_src, x_dst, None, return_attention_weights)
        if not can or edge_attr is not None:
            return super().forward(x, edge_index, edge_attr, return_attention_weights=return_attention_weights)
        out = attend(
            DotProduct(1 / math.sqrt(self.out_channels)),
            edge_index.plan,
            (_projected(self, self.lin_key, x_src), _projected(self, self.lin_value, x_src)),
            (_projected(self, self.lin_query, x_dst),),
            dropout=attention_dropout(self, edge_index),
            here=_here(self, edge_index, x_src, (self.lin_key, self.lin_value)),
            averages_heads=not self.concat,
        )
        _spare(self, out)
        out = out.flatten(1)
        if not self.root_weight:
            return out
        skip = self.lin_skip(x_dst)
        if self.lin_beta is None:
            return out + skip
        beta = self.lin_beta(torch.cat([out, skip, out - skip], dim=-1)).sigmoid()
        return beta * skip + (1 - beta) * out


def _by_heads(conv: Any, rows: Tensor) -> Tensor:
    return rows.view(-1, conv.heads, conv.out_channels)


def _projected(conv: Any, lin: Any, x: Tensor) -> Tensor:
    """``lin(x)`` by heads, ``[n, H, C]``; to be made again in backward if the run asks for that."""
    out = _by_heads(conv, lin(x))
    recipes = conv.rank_graph.recipes if conv.rank_graph.config.recompute == "layer" else None
    if recipes is not None and is_plain_linear(lin) and not torch.is_autocast_enabled(x.device.type):
        weight, bias = unchanged(lin.weight), None if lin.bias is None else unchanged(lin.bias)
        recipes.note(out, x, lambda x, _: _by_heads(conv, linear(x, weight(), bias and bias())))
    return out


def _here(
    conv: Any,
    index: RemoteIndex,
    x: Tensor,
    lins: tuple[Any, ...],
    further: Callable[[Tensor], tuple[Tensor, ...]] = lambda x: (),
) -> HeldRows | InputRows | None:
    """Rows of ``x`` that stay here or travel in place of their projections and what ``further`` makes, if they can."""
    if not all(map(is_plain_linear, lins)) or torch.is_autocast_enabled(x.device.type):
        return None
    parameters = [unchanged(p) for p in conv.parameters()]

    def sources(x: Tensor) -> tuple[Tensor, ...]:
        for parameter in parameters:
            parameter()  # backward must find what forward has used
        return (*(_by_heads(conv, linear(x, lin.weight, lin.bias)) for lin in lins), *further(x))

    num_columns = len(lins) * conv.heads * conv.out_channels
    held = held_rows(x, index.plan, sources, num_columns)
    return held if held is not None else input_rows(x, index.plan, sources, num_columns)


def _spare(conv: Any, out: Tensor) -> None:
    """Keep nothing of what was saved for ``out`` that can be made again."""
    if conv.rank_graph.recipes is not None:
        conv.rank_graph.recipes.spare(out)


def _scores(lin: Any, x: Tensor, *vectors: Tensor) -> tuple[Tensor, ...]:
    """For each of ``vectors`` ``[1, H, C]``, ``[n, H]``: its inner products with the heads of ``lin(x)``.

    The vectors are folded into the projection: multiplying and summing its output would make a tensor of that size, and
    two more in backward.
    """
    _, heads, channels = vectors[0].shape
    if not is_plain_linear(lin) or lin.bias is not None:
        by_heads = lin(x).view(-1, heads, channels)
        return tuple((by_heads * att).sum(-1) for att in vectors)
    by_heads = lin.weight.view(heads, channels, -1)
    folded = [(by_heads * att.squeeze(0).unsqueeze(-1)).sum(1) for att in vectors]
    return F.linear(x, torch.cat(folded)).split(heads, 1)


def can_attend(
    conv: pyg.MessagePassing, edge_index: Any, x_src: Tensor, x_dst: Tensor | None, size: Any, asked: Any
) -> bool:
    """Whether one fused pass gives what ``conv`` would."""
    return (
        can_walk(conv, edge_index)
        and type(conv.aggr_module) is SumAggregation
        and size is None
        and not weights_wanted(asked)
        and x_dst is not None
        and (len(x_src), len(x_dst)) == (edge_index.relation.num_src, edge_index.relation.num_dst)
    )


def attention_dropout(conv: Any, index: RemoteIndex) -> EdgeDropout | None:
    """The next draw for the layer's attention weights; None if it drops none."""
    if not conv.training or conv.dropout == 0:
        return None
    if index.edge_keys is None:
        raise UnsupportedOperation(
            "attention dropout needs to know which edge of the whole graph each edge is, but edges of unknown origin "
            f"were added to this edge_index; set the layer's dropout to 0: {conv.dropout}"
        )
    return EdgeDropout(p=conv.dropout, key=index.graph.randomness.draw(), edge_keys=index.edge_keys)


def with_loop_attributes(index: RemoteIndex, edge_attr: Tensor, fill_value: Any) -> Tensor:
    """PyG's attributes of added self-loops; ``mean`` and the like read in-edges only, which are all here."""
    ids, kept = remove_self_loops(index.plain, edge_attr)
    _, attributes = add_self_loops(ids, kept, fill_value=fill_value, num_nodes=index.relation.num_dst)
    return attributes


def finished(conv: Any, out: Tensor, x_dst: Tensor) -> Tensor:
    """Heads side by side if they were not averaged, the residual and the bias, as GATConv and GATv2Conv end."""
    _spare(conv, out)
    if not conv.concat:  # no operation keeps an average of heads, so that is where the rest goes
        if conv.res is not None:
            out += conv.res(x_dst)
        return out if conv.bias is None else out.add_(conv.bias)
    out = out.flatten(1)
    if conv.res is not None:
        out = out + conv.res(x_dst)
    if conv.bias is None:
        return out
    shifted, recipes = out + conv.bias, conv.rank_graph.recipes
    if recipes is not None and conv.res is None:  # then attention has kept `out`
        bias = unchanged(conv.bias)
        recipes.note(shifted, out, lambda x, _: x + bias())
    return shifted
