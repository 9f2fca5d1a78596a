"""Any message, block by block: foreign rows come once, messages live for a few edges, and statistics of them stay.

An aggregation that is a function of statistics (`engine.statistics`) does not ask for complete neighbourhoods
(`engine.neighbourhoods`), for which a row travels once per run that needs it. So we walk: a boundary row travels once,
its edges' messages are formed a bounded number at a time, taken into the statistics and freed. Backward walks again,
forms each message again with gradients on, and sends the gradients of foreign rows home (Mostafa 2022, §3, case 2).

Where backward needs what the statistics became (all but sums), mode ``sar`` walks once more to form them again: kept,
they would be several rows per destination and layer. Mode ``keep`` keeps them, and the rows.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from fullgraph.comm import Returns, fetch
from fullgraph.engine.arguments import Arguments, GradientSums, first_places
from fullgraph.engine.pieces import Piece, flat, pieces
from fullgraph.engine.plan import Plan
from fullgraph.engine.randomness import Randomness
from fullgraph.engine.statistics import Seeds, State, Statistic
from fullgraph.graph.block import Block

Message = Callable[[Piece, Arguments], Tensor]
Values = Mapping[Statistic, Tensor]
Visit = tuple[int | None, Block | None, tuple[Tensor, ...]]

# Rows that are finished at a time: what an aggregation computes in between is several times as wide as its output.
_FINISHED_ROWS = 4096


@dataclass(frozen=True)
class Decomposition:
    """An aggregation as a function of statistics.

    Attributes:
        statistics: of the messages, all different.
        finish: takes the statistics of some destinations, each ``[n, …]`` as a message is, and these destinations'
            in-degrees, int64 ``[n]``; returns their rows. Differentiable, row by row; may read parameters.
        linear: whether `finish` is linear in the statistics, with nothing learned in it.
    """

    statistics: tuple[Statistic, ...]
    finish: Callable[[Values, Tensor], Tensor]
    linear: bool

    @property
    def remembers(self) -> bool:
        """Whether backward needs the statistics."""
        return not self.linear or any(statistic.remembers for statistic in self.statistics)


@dataclass(frozen=True)
class _Walker:
    """What forward and backward share: how messages are formed along the walk."""

    message: Message
    decomposition: Decomposition
    plan: Plan
    randomness: Randomness
    call: int

    def formed(self, piece: Piece, share: Arguments) -> Tensor:
        """The messages of a piece; the same draws for each."""
        with self.randomness.repeating(self.call):
            return self.message(piece, share)

    def visits(self, src: Sequence[Tensor]) -> Iterator[Visit]:
        """Own rows and then each round's: its number, its block and its rows."""
        walk = self.plan.forward
        exact = any(statistic.compares for statistic in self.decomposition.statistics)
        incoming = fetch(walk.routes, src, exact=exact)
        yield None, walk.local, tuple(src)
        for number, rows in incoming:
            yield number, walk.blocks[number], rows
            del rows

    def pieces(self, block: Block | None) -> Iterable[Piece]:
        """Of at most as many edges as the run's setting says."""
        return () if block is None else pieces(block, self.plan.halo.config.chunk_edges)

    def states(self, visits: Iterable[Visit], whole: Arguments, like: Tensor) -> list[State]:
        """All statistics over one walk; ``like``: messages of no edges."""
        statistics = self.decomposition.statistics
        states = [statistic.start(flat(like), self.plan.num_dst) for statistic in statistics]
        for _, block, rows in visits:
            for piece in self.pieces(block):
                messages = flat(self.formed(piece, _share(piece, rows, whole)))
                for statistic, state in zip(statistics, states, strict=True):
                    statistic.absorb(messages, piece, state)
                del messages
            del rows
        return states

    def values(self, states: Sequence[State], like: Tensor) -> dict[Statistic, Tensor]:
        """The statistics, each a row per destination shaped as a message is."""
        shape = (self.plan.num_dst, *like.shape[1:])
        statistics = self.decomposition.statistics
        return {s: s.value(state).view(shape) for s, state in zip(statistics, states, strict=True)}


def aggregate_by_block(
    message: Message, decomposition: Decomposition, plan: Plan, arguments: Arguments, randomness: Randomness
) -> Tensor:
    """Aggregate ``message`` over in-edges, block by block, and again in backward. Collective.

    Args:
        message: takes a piece and its edges' share of the arguments: a row per edge of the source, destination and edge
            tensors, and the shared tensors whole. Returns a message per edge, ``[e, …]``, that depends on nothing but
            that edge's rows. It must compute the same when called again; dropout may come from ``randomness``.
        decomposition: how messages are aggregated.
        plan: the edges.
        arguments: what ``message`` works on.
        randomness: whose draws are repeated for every piece.

    Returns:
        ``[num_dst, …]``, differentiable with respect to all arguments.
    """
    walker = _Walker(message, decomposition, plan, randomness, randomness.call)
    return _ByBlock.apply(walker, arguments, *arguments.all)  # pyright: ignore[reportReturnType]


class _ByBlock(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, walker: _Walker, arguments: Arguments, *tensors: Tensor) -> Tensor:
        whole, randomness = arguments.like(tensors), walker.randomness
        with randomness.repeating(walker.call):
            like = walker.message(*_sample(walker.plan, whole))[:0]
            last = randomness.call
        randomness.call = last  # a rank without edges has drawn as often as others
        ctx.rng = torch.get_rng_state()
        ctx.kept, visits = None, walker.visits(whole.src)
        if walker.plan.halo.config.mode == "keep":
            ctx.kept = visits = list(visits)
        states = walker.states(visits, whole, like)
        ctx.states = states if ctx.kept is not None and walker.decomposition.remembers else None
        ctx.walker, ctx.like, ctx.parameters = walker, like, arguments.shared
        ctx.places, ctx.first = arguments.like([None] * len(tensors)), first_places(arguments.all)
        ctx.save_for_backward(*tensors)
        values = walker.values(states, like)
        del states, visits
        return _finished(walker, values)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        walker: _Walker = ctx.walker
        whole: Arguments = ctx.places.like(ctx.saved_tensors)
        sums = GradientSums.zeros(whole, ctx.needs_input_grad[2:], ctx.first)
        rng_now = torch.get_rng_state()
        states = None if ctx.states is None else list(ctx.states)
        if walker.decomposition.remembers and states is None:
            torch.set_rng_state(ctx.rng)
            states = walker.states(walker.visits(whole.src), whole, ctx.like)
        adjoints = _adjoints(ctx, states, sums, grads[0])
        del states
        torch.set_rng_state(ctx.rng)
        returned = [total for total, need in zip(sums.totals.src, sums.needs.src, strict=True) if need]
        returns = Returns(walker.plan.forward.routes, returned)
        for number, block, rows in ctx.kept or walker.visits(whole.src):
            into = returned if number is None else [t.new_zeros(t.shape) for t in _needed(rows, sums.needs.src)]
            for piece in walker.pieces(block):
                _differentiate(ctx, piece, _share(piece, rows, whole), adjoints, into, sums)
            if number is not None:
                returns.post(number, into)
            del rows, into
        returns.finish()
        torch.set_rng_state(rng_now)
        return None, None, *sums.result()


def _share(piece: Piece, rows: Sequence[Tensor], whole: Arguments) -> Arguments:
    """What belongs to a piece's edges: ``rows`` are those of the block's columns."""
    return Arguments(
        tuple(t.index_select(0, piece.src) for t in rows),
        tuple(piece.at_edges(t) for t in whole.dst),
        tuple(t.index_select(0, piece.edge_ids) for t in whole.edge),
        whole.shared,
    )


def _sample(plan: Plan, whole: Arguments) -> tuple[Piece, Arguments]:
    """One edge between rows of zeros, or none if there is none: its message has the shape and draws of all."""
    count = min(plan.num_edges, 1)
    ids = torch.arange(count, device=plan.halo.world.device)
    piece = Piece(rows=range(count), indptr=torch.arange(0, count + 1, device=ids.device), src=ids, edge_ids=ids)
    share = whole.like(
        [t.new_zeros((count, *t.shape[1:])) for t in (*whole.src, *whole.dst, *whole.edge)] + list(whole.shared)
    )
    return piece, share


def _needed(tensors: Sequence[Tensor], needs: Sequence[bool]) -> list[Tensor]:
    return [t for t, need in zip(tensors, needs, strict=True) if need]


def _runs_of_rows(num_rows: int) -> list[slice]:
    """At least one, so that a rank without destinations learns the shape of its output."""
    return [slice(first, first + _FINISHED_ROWS) for first in range(0, max(num_rows, 1), _FINISHED_ROWS)]


def _finished(walker: _Walker, values: Values) -> Tensor:
    """The aggregation's output."""
    num_dst, degree, out = walker.plan.num_dst, walker.plan.in_degree, None
    for rows in _runs_of_rows(num_dst):
        run = walker.decomposition.finish({s: value[rows] for s, value in values.items()}, degree[rows])
        if out is None:
            out = run.new_empty((num_dst, *run.shape[1:]))
        out[rows] = run
    assert out is not None
    return out


def _adjoints(ctx: Any, states: list[State] | None, sums: GradientSums, grad: Tensor) -> list[State]:
    """Through the aggregation's function back to the statistics; parameters read on the way get their gradients."""
    walker: _Walker = ctx.walker
    statistics, num_dst, degree = walker.decomposition.statistics, walker.plan.num_dst, walker.plan.in_degree
    of_values = [ctx.like.new_empty((num_dst, *ctx.like.shape[1:])) for _ in statistics]
    values = None if states is None else walker.values(states, ctx.like)
    parameters = _needed(ctx.parameters, sums.needs.shared)
    for rows in _runs_of_rows(num_dst):
        # What is linear has the same gradient everywhere.
        run = {
            statistic: (torch.zeros_like(grad_of[rows]) if values is None else values[statistic][rows]).detach()
            for statistic, grad_of in zip(statistics, of_values, strict=True)
        }
        for value in run.values():
            value.requires_grad_()
        with torch.enable_grad():
            out = walker.decomposition.finish(run, degree[rows])
        found = torch.autograd.grad(out, [*run.values(), *parameters], grad[rows], allow_unused=True)
        for total, part in zip(of_values, found, strict=False):
            total[rows] = 0 if part is None else part
        _add_shared(found[len(statistics) :], sums)
    del values
    adjoints = []
    for statistic in statistics:
        state = states.pop(0) if states else ()  # each is freed before the next
        adjoints.append(statistic.adjoint(state, flat(of_values.pop(0))))
        del state
    return adjoints


def _differentiate(
    ctx: Any, piece: Piece, share: Arguments, adjoints: list[State], into: list[Tensor], sums: GradientSums
) -> None:
    """Form a piece's messages again and add the gradients of all that they depend on."""
    walker, needs, totals = ctx.walker, sums.needs, sums.totals
    # Parameters are read by the message itself, so gradients are asked for the originals.
    leaves = share.like([t.detach() for t in (*share.src, *share.dst, *share.edge)] + list(ctx.parameters))
    for leaf, need in zip((*leaves.src, *leaves.dst, *leaves.edge), needs.all, strict=False):
        leaf.requires_grad_(need)
    with torch.enable_grad():
        messages = flat(walker.formed(piece, leaves))
        seeds: Seeds = []
        for statistic, adjoint in zip(walker.decomposition.statistics, adjoints, strict=True):
            seeds += [(out, grad) for out, grad in statistic.seeds(messages, piece, adjoint) if out.requires_grad]
    wanted = _needed(leaves.all, needs.all)
    if not seeds or not wanted:
        return
    found = torch.autograd.grad([out for out, _ in seeds], wanted, [grad for _, grad in seeds], allow_unused=True)
    filled = iter(found)
    parts = leaves.like([next(filled) if need else None for need in needs.all])
    for total, part in zip(into, [p for p, need in zip(parts.src, needs.src, strict=True) if need], strict=True):
        if part is not None:
            total.index_add_(0, piece.src, part)
    for total, part in zip(totals.dst, parts.dst, strict=True):
        if part is not None:
            piece.add(part, total)
    for total, part in zip(totals.edge, parts.edge, strict=True):
        if part is not None:
            total.index_add_(0, piece.edge_ids, part)
    _add_shared([p for p, need in zip(parts.shared, needs.shared, strict=True) if need], sums)


def _add_shared(parts: Sequence[Tensor | None], sums: GradientSums) -> None:
    for total, part in zip(_needed(sums.totals.shared, sums.needs.shared), parts, strict=True):
        if part is not None:
            total += part
