"""Attention layers as one fused, rematerialised pass: no score, weight or message is ever stored per edge.

With edge attributes that enter the score feature by feature, or with another aggregation, a layer runs its own code on
complete neighbourhoods; asked for its attention weights, on all edges at once. The result is the same.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch_geometric.nn as pyg
from torch import Tensor
from torch_geometric.nn.aggr import SumAggregation
from torch_geometric.utils import add_self_loops, remove_self_loops

from fullgraph.engine import (
    Additive,
    BothEnds,
    DotProduct,
    EdgeDropout,
    SourceRows,
    attend,
    draw_key,
    linear,
    source_rows,
    unchanged,
)
from fullgraph.pyg.data.edges import Edges
from fullgraph.pyg.general.any_layer import AnyLayer, edges_between
from fullgraph.pyg.general.border import inside, made, own
from fullgraph.pyg.general.choice import Choice, Way, can_walk, is_plain_linear, why_not_sequential
from fullgraph.pyg.pruning.layers import Prunable
from fullgraph.rows import Rows, rows


@dataclass(frozen=True)
class _Ends:
    """What one fused pass works on: its edges, and this rank's rows of sources and destinations."""

    edges: Edges
    src: Tensor
    dst: Tensor

    @property
    def are_same(self) -> bool:
        """Whether sources and destinations are one tensor."""
        return self.src is self.dst


class Attending(AnyLayer):
    """A layer whose attention the engine has a kernel for."""

    def choice(self) -> Choice:
        if why_not_sequential(self) is not None or type(self.aggr_module) is not SumAggregation:
            return super().choice()
        return Choice(Way.WALK, "fused attention")

    def _product(self, lin: Any, x: Tensor) -> Tensor:
        """``lin(x)``, by the engine's product where it is nothing but that."""
        return linear(x, lin.weight, lin.bias, recipes=self.view.recipes) if is_plain_linear(lin) else lin(x)


class _OverOneIndex(Prunable, Attending):
    """Such a layer that is given rows and one ``edge_index``.

    Attributes:
        fuses_attributes: whether attributes of edges enter its scores alone, as a number per edge and head.
        _attend: what the layer gives for the destinations; each layer has its own.
    """

    fuses_attributes = False
    _attend: Callable[[_Ends, Tensor | None], Tensor]

    def choice(self) -> Choice:
        if self.edge_dim is None or self.fuses_attributes:  # pyright: ignore[reportAttributeAccessIssue]
            return super().choice()
        return super(Attending, self).choice()

    def forward(self, x: Any, edge_index: Any, edge_attr: Tensor | None = None, *more: Any, **named: Any) -> Any:
        """One fused pass, unless it is given, or asked for, what that has not."""
        has_all = all(value is None for value in (*more, *named.values()))
        ends = self._ends(x, edge_index) if has_all and (edge_attr is None or self.fuses_attributes) else None
        if ends is None:
            return super().forward(x, edge_index, edge_attr, *more, **named)
        attr = None if edge_attr is None else own(edge_attr, ends.edges.space)
        return made(inside(self, self.view, lambda: self._attend(ends, attr)), ends.edges.dst_space, self)

    def _ends(self, x: Any, edge_index: Any) -> _Ends | None:
        """What one fused pass would work on; None if it would not give what the layer does."""
        x_src, x_dst = x if isinstance(x, tuple | list) else (x, x)
        may = can_walk(self, edge_index) and type(self.aggr_module) is SumAggregation
        if not may or not all(_is_matrix(end) for end in (x_src, x_dst)):
            return None
        edges = edges_between(edge_index, {"x": (x_src, x_dst)})
        if edges is None or (getattr(self, "add_self_loops", False) and not edges.is_square):
            return None
        src = own(x_src, edges.src_space)
        return _Ends(edges, src, src if x_dst is x_src and edges.is_square else own(x_dst, edges.dst_space))


def _is_matrix(x: Any) -> bool:
    return isinstance(x, Rows) and x.dim() == 2 and x._dim == 0


class _WithSelfLoops(_OverOneIndex):
    """Adds self-loops."""

    add_self_loops: bool
    fill_value: Any
    prepares = "add_self_loops"

    def on_whole_graph(self, x: Rows, edges: Edges, values: Tensor | None) -> tuple[Edges, Tensor | None]:
        walked = self._walked(edges)
        if values is not None and walked is not edges:
            attributes = with_loop_attributes(edges, own(values, edges.space), self.fill_value)
            values = rows(attributes, walked.space)
        return walked, values

    def walked_edges(self, edges: Edges) -> Edges | None:
        if self.choice().way is not Way.WALK or (self.add_self_loops and not edges.is_square):
            return None
        return edges.with_self_loops if self.add_self_loops else edges

    def _walked(self, edges: Edges) -> Edges:
        return edges.with_self_loops if self.add_self_loops else edges


class GATConv(_WithSelfLoops, pyg.GATConv):
    """Veličković 2018."""

    fuses_attributes = True

    def _attend(self, ends: _Ends, edge_attr: Tensor | None) -> Tensor:
        lin_src, lin_dst = (self.lin_src, self.lin_dst) if self.lin is None else (self.lin, self.lin)
        projected = _projected(self, lin_src, ends.src)
        if lin_src is lin_dst and ends.are_same:
            score_src, score_dst = _scores(self, lin_src, ends.src, self.att_src, self.att_dst, projected=projected)
        else:
            (score_src,) = _scores(self, lin_src, ends.src, self.att_src, projected=projected)
            (score_dst,) = _scores(self, lin_dst, ends.dst, self.att_dst)
        if edge_attr is not None and self.add_self_loops:
            edge_attr = with_loop_attributes(ends.edges, edge_attr, self.fill_value)
        walked = self._walked(ends.edges)
        out = attend(
            Additive(self.negative_slope),
            walked.plan,
            (projected, score_src),
            (score_dst,),
            bias=self._edge_scores(edge_attr),
            dropout=attention_dropout(self, walked),
            here=_here(self, walked, ends.src, (lin_src,), lambda x: _scores(self, lin_src, x, self.att_src)),
            averages_heads=not self.concat,
        )
        return finished(self, out, ends.dst)

    def _edge_scores(self, edge_attr: Tensor | None) -> Tensor | None:
        """``[num_edges, heads]``, without the projected attributes, which would be E × H × C."""
        if edge_attr is None or self.lin_edge is None:
            return None
        attributes = edge_attr if edge_attr.dim() > 1 else edge_attr.unsqueeze(1)
        (scores,) = _scores(self, self.lin_edge, attributes, self.att_edge)
        return scores


class GATv2Conv(_WithSelfLoops, pyg.GATv2Conv):  # pyright: ignore[reportIncompatibleMethodOverride]
    """Brody 2022. Edge attributes enter its score feature by feature, so with them its own code runs."""

    def _attend(self, ends: _Ends, edge_attr: Tensor | None) -> Tensor:
        left = _projected(self, self.lin_l, ends.src)
        right = left if ends.are_same and self.share_weights else _projected(self, self.lin_r, ends.dst)
        walked = self._walked(ends.edges)
        out = attend(
            BothEnds(self.negative_slope),
            walked.plan,
            (left,),
            (right,),
            (self.att.squeeze(0),),
            dropout=attention_dropout(self, walked),
            here=_here(self, walked, ends.src, (self.lin_l,)),
            averages_heads=not self.concat,
        )
        return finished(self, out, ends.dst)


class TransformerConv(_OverOneIndex, pyg.TransformerConv):
    """Shi 2021. Edge attributes enter its keys and values feature by feature, so with them its own code runs."""

    def walked_edges(self, edges: Edges) -> Edges | None:
        return edges if self.choice().way is Way.WALK else None

    def _attend(self, ends: _Ends, edge_attr: Tensor | None) -> Tensor:
        out = attend(
            DotProduct(1 / math.sqrt(self.out_channels)),
            ends.edges.plan,
            (_projected(self, self.lin_key, ends.src), _projected(self, self.lin_value, ends.src)),
            (_projected(self, self.lin_query, ends.dst),),
            dropout=attention_dropout(self, ends.edges),
            here=_here(self, ends.edges, ends.src, (self.lin_key, self.lin_value)),
            averages_heads=not self.concat,
        )
        _spare(self, out)
        out = out.flatten(1)
        if not self.root_weight:
            return out
        skip = self._product(self.lin_skip, ends.dst)
        if self.lin_beta is None:
            return out + skip
        beta = self._product(self.lin_beta, torch.cat([out, skip, out - skip], dim=-1)).sigmoid()
        return beta * skip + (1 - beta) * out


def _by_heads(conv: Any, rows: Tensor) -> Tensor:
    return rows.view(-1, conv.heads, conv.out_channels)


def _projected(conv: Any, lin: Any, x: Tensor) -> Tensor:
    """``lin(x)`` by heads, ``[n, H, C]``; to be made again in backward if the run asks for that."""
    out = _by_heads(conv, conv._product(lin, x))
    recipes = conv.view.recipes if conv.view.config.recompute == "layer" else None
    if recipes is not None and is_plain_linear(lin) and not torch.is_autocast_enabled(x.device.type):
        weight, bias = unchanged(lin.weight), None if lin.bias is None else unchanged(lin.bias)
        recipes.note(out, x, lambda x, _: _by_heads(conv, linear(x, weight(), bias and bias())))
    return out


def _here(
    conv: Any,
    edges: Edges,
    x: Tensor,
    lins: tuple[Any, ...],
    further: Callable[[Tensor], tuple[Tensor, ...]] = lambda x: (),
) -> SourceRows | None:
    """Rows of ``x`` that stay here or travel in place of their projections and what ``further`` makes, if they can."""
    if not all(map(is_plain_linear, lins)) or torch.is_autocast_enabled(x.device.type):
        return None
    parameters = [unchanged(p) for p in conv.parameters()]

    def sources(x: Tensor) -> tuple[Tensor, ...]:
        for parameter in parameters:
            parameter()  # backward must find what forward has used
        return (*(_by_heads(conv, linear(x, lin.weight, lin.bias)) for lin in lins), *further(x))

    return source_rows(x, edges.plan, sources, len(lins) * conv.heads * conv.out_channels)


def _spare(conv: Any, out: Tensor) -> None:
    """Keep nothing of what was saved for ``out`` that can be made again."""
    if conv.view.recipes is not None:
        conv.view.recipes.spare(out)


def _scores(conv: Any, lin: Any, x: Tensor, *vectors: Tensor, projected: Tensor | None = None) -> tuple[Tensor, ...]:
    """For each of ``vectors`` ``[1, H, C]``, ``[n, H]``: its inner products with the heads of ``lin(x)``.

    These are ``projected``, if they are known: a module that is no plain matrix is called once. The vectors are folded
    into the projection: multiplying and summing its output would make a tensor of that size, and two more in backward.
    """
    _, heads, channels = vectors[0].shape
    if not is_plain_linear(lin) or lin.bias is not None:
        by_heads = conv._product(lin, x).view(-1, heads, channels) if projected is None else projected
        return tuple((by_heads * att).sum(-1) for att in vectors)
    by_heads = lin.weight.view(heads, channels, -1)
    folded = [(by_heads * att.squeeze(0).unsqueeze(-1)).sum(1) for att in vectors]
    scores = linear(x, torch.cat(folded), recipes=conv.view.recipes)
    return scores.to(vectors[0].dtype).split(heads, 1)  # autocast makes rows narrow, and not what they are scored with


def attention_dropout(conv: Any, edges: Edges) -> EdgeDropout | None:
    """The next draw for the layer's attention weights; None if it drops none."""
    if not conv.training or conv.dropout == 0:
        return None
    return EdgeDropout(p=conv.dropout, key=draw_key(), edge_keys=edges.keys)


def with_loop_attributes(edges: Edges, edge_attr: Tensor, fill_value: Any) -> Tensor:
    """PyG's attributes of added self-loops; ``mean`` and the like read in-edges only, which are all here."""
    ids, kept = remove_self_loops(torch.stack([edges.src, edges.dst]), edge_attr)
    _, attributes = add_self_loops(ids, kept, fill_value=fill_value, num_nodes=edges.num_dst)
    return attributes


def finished(conv: Any, out: Tensor, x_dst: Tensor) -> Tensor:
    """Heads side by side if they were not averaged, the residual and the bias, as GATConv and GATv2Conv end."""
    _spare(conv, out)
    if not conv.concat:  # no operation keeps an average of heads, so that is where the rest goes
        if conv.res is not None:
            out += conv._product(conv.res, x_dst)
        return out if conv.bias is None else out.add_(conv.bias)
    out = out.flatten(1)
    if conv.res is not None:
        out = out + conv._product(conv.res, x_dst)
    if conv.bias is None:
        return out
    shifted, recipes = out + conv.bias, conv.view.recipes
    if recipes is not None and conv.res is None:  # then attention has kept `out`
        bias = unchanged(conv.bias)
        recipes.note(shifted, out, lambda x, _: x + bias())
    return shifted
