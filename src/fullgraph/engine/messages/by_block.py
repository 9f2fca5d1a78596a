"""Any message, block by block: foreign rows come once, messages live for a few edges, and statistics of them stay.

An aggregation that is a function of statistics (`engine.messages.statistics`) does not ask for complete neighbourhoods
(`engine.messages.by_neighbourhood`), for which a row travels once per run that needs it. So we walk: a boundary row
travels once, its edges' messages are formed a bounded number at a time, taken into the statistics and freed. Backward
walks again, forms each message again with gradients on, and sends the gradients of foreign rows home (Mostafa 2022, §3,
case 2).

Where backward needs what the statistics became (all but sums), mode ``sar`` walks once more to form them again: kept,
they would be several rows per destination and layer. Mode ``keep`` keeps them, and the rows.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from fullgraph.comm import fetch
from fullgraph.engine.backward.once import backward_once
from fullgraph.engine.backward.replay import Replay
from fullgraph.engine.messages.arguments import Arguments, GradientSums, first_places
from fullgraph.engine.messages.pieces import Piece, flat, pieces
from fullgraph.engine.messages.statistics import Decomposition, Seeds, State, Statistic, Values
from fullgraph.engine.walks.plan import Plan
from fullgraph.engine.walks.walk import Grads, Rounds, keeping
from fullgraph.graph.block import Block

Message = Callable[[Piece, Arguments], Tensor]

# Rows that are finished at a time: what an aggregation computes in between is several times as wide as its output.
_FINISHED_ROWS = 4096


@dataclass(frozen=True)
class _Walker:
    """What forward and backward share: how messages are formed along the walk."""

    message: Message
    decomposition: Decomposition
    plan: Plan
    replay: Replay
    within: Callable[[], AbstractContextManager[None]]

    def formed(self, piece: Piece, share: Arguments) -> Tensor:
        """The messages of a piece; the same draws for each."""
        with self.replay.again():
            return self.message(piece, share)

    def incoming(self, src: Sequence[Tensor], purpose: str) -> Rounds:
        """The rows of other ranks, round by round."""
        exact = any(statistic.compares for statistic in self.decomposition.statistics)
        return fetch(self.plan.forward.routes, src, exact=exact, packs=True, purpose=purpose)

    def pieces(self, block: Block) -> Iterable[Piece]:
        """Of at most as many edges as the run's setting says."""
        return pieces(block, self.plan.halo.config.chunk_edges)

    def states(self, incoming: Rounds, whole: Arguments, like: Tensor) -> list[State]:
        """All statistics over one walk; ``like``: messages of no edges."""
        statistics = self.decomposition.statistics
        states = [statistic.start(flat(like), self.plan.num_dst) for statistic in statistics]

        def absorb(block: Block, rows: tuple[Tensor, ...], _: Grads) -> None:
            for piece in self.pieces(block):
                messages = flat(self.formed(piece, _share(piece, rows, whole)))
                for statistic, state in zip(statistics, states, strict=True):
                    statistic.absorb(messages, piece, state)
                del messages

        self.plan.forward.visit(absorb, whole.src, incoming)
        return states

    def values(self, states: Sequence[State], like: Tensor) -> dict[Statistic, Tensor]:
        """The statistics, each a row per destination shaped as a message is."""
        shape = (self.plan.num_dst, *like.shape[1:])
        statistics = self.decomposition.statistics
        return {s: s.value(state).view(shape) for s, state in zip(statistics, states, strict=True)}


def aggregate_by_block(
    message: Message,
    decomposition: Decomposition,
    plan: Plan,
    arguments: Arguments,
    within: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Tensor:
    """Aggregate ``message`` over in-edges, block by block, and again in backward. Collective.

    Args:
        message: takes a piece and its edges' share of the arguments: a row per edge of the source, destination and edge
            tensors, and the others whole. Returns a message per edge, ``[e, …]``, that depends on nothing but
            that edge's rows. It must compute the same when called again from the same states of the generators.
        decomposition: how messages are aggregated.
        plan: the edges.
        arguments: what ``message`` works on.
        within: what ``message`` and ``decomposition`` run in, forward and backward.

    Returns:
        ``[num_dst, …]``, differentiable with respect to all arguments.
    """
    walker = _Walker(message, decomposition, plan, Replay.of_now(plan.halo.world.device), within)
    with torch.no_grad(), within():
        like = message(*_sample(plan, arguments))[:0]  # and a rank without edges has drawn as others have
    out: Tensor = _ByBlock.apply(walker, like, arguments, *arguments.all)  # pyright: ignore[reportAssignmentType]
    return out.view(plan.num_dst, *like.shape[1:]) if decomposition.formula is None else out


class _ByBlock(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, walker: _Walker, like: Tensor, arguments: Arguments, *tensors: Tensor) -> Tensor:
        with walker.within(), walker.replay.casting():
            return _forward(ctx, walker, like, arguments, tensors)

    @staticmethod
    @backward_once
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        with ctx.walker.within():
            return _backward(ctx, grads[0])


def _forward(ctx: Any, walker: _Walker, like: Tensor, arguments: Arguments, tensors: tuple[Tensor, ...]) -> Tensor:
    whole = arguments.like(tensors)
    ctx.kept = {} if walker.plan.halo.config.mode == "keep" else None
    states = walker.states(keeping(walker.incoming(whole.src, "messages, forward"), ctx.kept), whole, like)
    kept = states if ctx.kept is not None and walker.decomposition.remembers else []
    ctx.sizes = [len(state) for state in kept]
    ctx.walker, ctx.like, ctx.read = walker, like, arguments.read
    ctx.places, ctx.first = arguments.like([None] * len(tensors)), first_places(arguments.all)
    if walker.decomposition.formula is None:  # no view of the state: that could not be changed in place
        out = walker.decomposition.statistics[0].value(states[0])
    else:
        out = _finished(walker, walker.values(states, like))
    ctx.save_for_backward(*tensors, *(part for state in kept for part in state))
    return out


def _backward(ctx: Any, grad: Tensor) -> Any:
    walker: _Walker = ctx.walker
    saved = iter(ctx.saved_tensors)
    whole: Arguments = ctx.places.like(tuple(islice(saved, len(ctx.places.all))))
    sums = GradientSums.zeros(whole, ctx.needs_input_grad[3:], ctx.first)
    states = [tuple(islice(saved, size)) for size in ctx.sizes] or None
    if walker.decomposition.remembers and states is None:
        with walker.replay.casting():
            states = walker.states(walker.incoming(whole.src, "statistics again, backward"), whole, ctx.like)
    adjoints = _adjoints(ctx, states, sums, grad)
    del states
    sums.reach(_read_by_messages(ctx, whole, adjoints, sums))

    def differentiate(block: Block, rows: tuple[Tensor, ...], found: Grads) -> None:
        for piece in walker.pieces(block):
            _differentiate(ctx, piece, rows, found, whole, adjoints, sums)

    again = walker.incoming(whole.src, "messages, backward") if ctx.kept is None else ctx.kept.items()
    grads = [total if need else None for total, need in zip(sums.totals.src, sums.needs.src, strict=True)]
    walker.plan.forward.visit(differentiate, whole.src, again, grads)
    return None, None, None, *sums.result()


def _share(piece: Piece, rows: Sequence[Tensor], whole: Arguments) -> Arguments:
    """What belongs to a piece's edges: ``rows`` are those of the block's columns."""
    return Arguments(
        tuple(t.index_select(0, piece.src) for t in rows),
        tuple(piece.at_edges(t) for t in whole.dst),
        tuple(t.index_select(0, piece.edge_ids) for t in whole.edge),
        whole.shared,
        whole.read,
    )


def _sample(plan: Plan, whole: Arguments) -> tuple[Piece, Arguments]:
    """One edge between rows of zeros, or none if there is none: its message has the shape and draws of all."""
    count = min(plan.num_edges, 1)
    ids = torch.arange(count, device=plan.halo.world.device)
    piece = Piece(rows=range(count), indptr=torch.arange(0, count + 1, device=ids.device), src=ids, edge_ids=ids)
    rows = [t.new_zeros((count, *t.shape[1:])) for t in (*whole.src, *whole.dst, *whole.edge)]
    return piece, whole.like([*rows, *whole.shared, *whole.read])


def _read_by_messages(ctx: Any, whole: Arguments, adjoints: list[State], sums: GradientSums) -> Sequence[Tensor | None]:
    """A gradient for each parameter that a message or its statistics depend on, found on one edge or none."""
    wanted = _needed(ctx.read, sums.needs.read)
    if not wanted:
        return []
    piece, share = _sample(ctx.walker.plan, whole)
    shared = tuple(t.detach() for t in share.shared)  # what made it, of parameters perhaps, is another matter
    with torch.enable_grad(), ctx.walker.replay.casting():
        messages = flat(ctx.walker.formed(piece, Arguments(share.src, share.dst, share.edge, shared, ctx.read)))
        seeds = _seeds(ctx.walker, messages, piece, adjoints)
    if not seeds:
        return [None] * len(wanted)
    outs, grads = zip(*seeds, strict=True)
    return torch.autograd.grad(outs, wanted, grads, allow_unused=True)


def _seeds(walker: _Walker, messages: Tensor, piece: Piece, adjoints: list[State]) -> Seeds:
    """What the gradients of a piece's messages are made from."""
    seeds: Seeds = []
    for statistic, adjoint in zip(walker.decomposition.statistics, adjoints, strict=True):
        seeds += [(out, grad) for out, grad in statistic.seeds(messages, piece, adjoint) if out.requires_grad]
    return seeds


def _needed(tensors: Sequence[Any], needs: Sequence[bool]) -> list[Any]:
    return [t for t, need in zip(tensors, needs, strict=True) if need]


def _runs_of_rows(num_rows: int) -> list[slice]:
    """At least one, so that a rank without destinations learns the shape of its output."""
    return [slice(first, first + _FINISHED_ROWS) for first in range(0, max(num_rows, 1), _FINISHED_ROWS)]


def _finished(walker: _Walker, values: Values) -> Tensor:
    """The aggregation's output, by its formula."""
    num_dst, degree, out = walker.plan.num_dst, walker.plan.in_degree, None
    for rows in _runs_of_rows(num_dst):
        run = walker.decomposition.finish({s: value[rows] for s, value in values.items()}, degree[rows])
        if out is None:
            out = run.new_empty((num_dst, *run.shape[1:]))
        out[rows] = run
    assert out is not None
    return out


def _adjoints(ctx: Any, states: list[State] | None, sums: GradientSums, grad: Tensor) -> list[State]:
    """What each statistic's messages need of the destinations to know their gradients."""
    walker: _Walker = ctx.walker
    if walker.decomposition.formula is None:
        grads = [grad]
    else:
        grads = _through_formula(ctx, None if states is None else walker.values(states, ctx.like), sums, grad)
    adjoints = []
    for statistic in walker.decomposition.statistics:
        state = states.pop(0) if states else ()  # each is freed before the next
        adjoints.append(statistic.adjoint(state, flat(grads.pop(0))))
        del state
    return adjoints


def _through_formula(ctx: Any, values: Values | None, sums: GradientSums, grad: Tensor) -> list[Tensor]:
    """From the output's gradient to that of each statistic; parameters read on the way get theirs."""
    walker: _Walker = ctx.walker
    statistics, num_dst, degree = walker.decomposition.statistics, walker.plan.num_dst, walker.plan.in_degree
    grads = [ctx.like.new_empty((num_dst, *ctx.like.shape[1:])) for _ in statistics]
    parameters = _needed(ctx.read, sums.needs.read)
    for rows in _runs_of_rows(num_dst):
        # What is linear has the same gradient everywhere.
        run = {
            statistic: (torch.zeros_like(total[rows]) if values is None else values[statistic][rows]).detach()
            for statistic, total in zip(statistics, grads, strict=True)
        }
        for value in run.values():
            value.requires_grad_()
        with torch.enable_grad(), walker.replay.casting():
            out = walker.decomposition.finish(run, degree[rows])
        found = torch.autograd.grad(out, [*run.values(), *parameters], grad[rows], allow_unused=True)
        for total, part in zip(grads, found, strict=False):
            total[rows] = 0 if part is None else part
        _add(found[len(statistics) :], _needed(sums.totals.read, sums.needs.read))
        sums.reach(found[len(statistics) :])
    return grads


def _differentiate(
    ctx: Any,
    piece: Piece,
    rows: Sequence[Tensor],
    into: Grads,
    whole: Arguments,
    adjoints: list[State],
    sums: GradientSums,
) -> None:
    """Form a piece's messages again and add the gradients of all that they depend on; those of ``rows`` to ``into``."""
    walker, needs, totals = ctx.walker, sums.needs, sums.totals
    anchor = torch.zeros((), device=piece.src.device, requires_grad=True)
    shared = tuple(t.detach().requires_grad_(need) for t, need in zip(whole.shared, needs.shared, strict=True))

    # All that is given is cut off from what made it; gradients go on from there when all of them are together.
    def lift(
        tensors: Iterable[Tensor],
        needed: Sequence[bool],
        places: Tensor,
        add: Callable[[Tensor, Tensor], Any],
        sums: Sequence[Any],
    ) -> tuple[Any, ...]:
        return tuple(
            _Lift.apply(anchor, t.detach(), places, partial(add, total)) if need else t.index_select(0, places)
            for t, need, total in zip(tensors, needed, sums, strict=True)
        )

    def to_sources(total: Tensor, grad: Tensor) -> None:
        total.index_add_(0, piece.src, grad)

    def to_destinations(total: Tensor, grad: Tensor) -> None:
        piece.add(grad, total)

    def to_edges(total: Tensor, grad: Tensor) -> None:
        total.index_add_(0, piece.edge_ids, grad)

    with torch.enable_grad(), walker.replay.casting():
        share = Arguments(
            lift(rows, needs.src, piece.src, to_sources, into),
            lift(map(piece.of, whole.dst), needs.dst, piece.dst, to_destinations, totals.dst),
            lift(whole.edge, needs.edge, piece.edge_ids, to_edges, totals.edge),
            shared,
            ctx.read,
        )
        messages = flat(walker.formed(piece, share))
        del share
        seeds = _seeds(walker, messages, piece, adjoints)
    if not seeds:
        return
    wanted = [anchor, *_needed(shared, needs.shared), *_needed(ctx.read, needs.read)]
    outs, grads = zip(*seeds, strict=True)
    del messages, seeds
    _, *found = torch.autograd.grad(outs, wanted, grads, allow_unused=True)
    _add(found, [*_needed(totals.shared, needs.shared), *_needed(totals.read, needs.read)])


class _Lift(torch.autograd.Function):
    """A row per edge, whose gradient is added to the rows' own as soon as it is there.

    Left to autograd, the rows of all edges of a piece and their gradients would be in memory until the last of them is
    formed. The anchor stands for the rows in autograd's eyes: a scalar that is asked for, and gets nothing.
    """

    @staticmethod
    def forward(ctx: Any, anchor: Tensor, rows: Tensor, places: Tensor, add: Callable[[Tensor], None]) -> Tensor:
        ctx.add = add
        return rows.index_select(0, places)

    @staticmethod
    @backward_once
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.add(grads[0])
        return None, None, None, None


def _add(parts: Sequence[Tensor | None], totals: Sequence[Tensor]) -> None:
    for total, part in zip(totals, parts, strict=True):
        if part is not None:
            total += part
