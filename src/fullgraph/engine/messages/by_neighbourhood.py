"""Complete neighbourhoods, a bounded number of edges at a time: what any aggregation at all can be computed on.

A layer that is no sum, extremum or attention still is exact on the whole in-neighbourhood of a destination. We cut the
owned destinations into runs with at most ``chunk_edges`` in-edges, fetch the sources of one run, let the layer's own
code work on it, and free everything; backward fetches again and runs the code again with gradients on. A boundary row
travels once per run that needs it, where a walk would send it once: the price of not knowing what the layer does.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from fullgraph.comm import Routes, fetch_all, return_all
from fullgraph.comm.randomness import generators_state, set_generators
from fullgraph.engine.backward.once import backward_once
from fullgraph.engine.backward.replay import Replay
from fullgraph.engine.messages.arguments import Arguments, GradientSums, first_places
from fullgraph.engine.walks.halo import connect
from fullgraph.engine.walks.plan import Plan


@dataclass(frozen=True)
class Neighbourhood:
    """All in-edges of a run of owned destinations.

    Attributes:
        rows: the destinations.
        edges: where this run's edges stand among all edges, when they are ordered by destination.
        edge_ids: int64 ``[e]``, the edges among the plan's, by destination and within one in the order of one process.
        dst: int64 ``[e]``, each edge's destination, counted from the first of ``rows``.
        src: int64 ``[e]``, each edge's source among the rows that `gather` returns.
        own: int64, the sources that this rank owns, ascending; they come first.
        routes: how the others travel.
    """

    rows: range
    edges: range
    edge_ids: Tensor
    dst: Tensor
    src: Tensor
    own: Tensor
    routes: Routes

    @property
    def num_src(self) -> int:
        """How many distinct sources there are."""
        return len(self.own) + self.routes.num_received

    def gather(self, x: Tensor) -> Tensor:
        """The rows of all sources, ``[num_src, …]``. Collective."""
        return torch.cat([x.index_select(0, self.own), fetch_all(self.routes, x, packs=True)])

    def give_back(self, grad: Tensor, total: Tensor) -> None:
        """The adjoint of `gather`: add to the owners' ``total``, in place. Collective."""
        total.index_add_(0, self.own, grad[: len(self.own)])
        return_all(self.routes, grad[len(self.own) :].contiguous(), total)


def neighbourhoods(plan: Plan, chunk_edges: int, places: Tensor) -> list[Neighbourhood]:
    """Cut a plan's destinations into runs of at most ``chunk_edges`` edges (at least one destination each). Collective.

    ``places``, int64 ``[num_edges]``, say in which order each destination has its edges: that of one process.

    Every rank gets the same number of runs; those it does not need have no rows.
    """
    halo, block = plan.halo, plan.merged
    bounds = [0]
    while bounds[-1] < plan.num_dst:
        most = int(block.indptr[bounds[-1]]) + chunk_edges
        bounds.append(max(bounds[-1] + 1, int(torch.searchsorted(block.indptr, most, right=True)) - 1))
    num_runs = max(1, *halo.world.gather_objects(len(bounds) - 1))
    bounds += [plan.num_dst] * (num_runs + 1 - len(bounds))
    runs = []
    for first, stop in pairwise(bounds):
        chosen = slice(int(block.indptr[first]), int(block.indptr[stop]))
        degree = block.indptr[first : stop + 1].diff()
        dst = torch.repeat_interleave(torch.arange(stop - first, device=degree.device), degree)
        edge_ids = _edge_ids(block.edge_ids, chosen, block.indices.device)
        order = places[edge_ids].argsort()
        order = order[dst[order].argsort(stable=True)]
        sources, src = torch.unique(block.indices[chosen].long()[order], return_inverse=True)
        num_own = int(torch.searchsorted(sources, halo.num_own))
        cuts = torch.searchsorted(sources, halo.offsets + halo.num_own)
        needed = [
            halo.needed[rank][sources[cuts[rank] : cuts[rank + 1]] - halo.num_own - halo.offsets[rank]]
            for rank in range(halo.world.num_ranks)
        ]
        runs.append(
            Neighbourhood(
                rows=range(first, stop),
                edges=range(chosen.start, chosen.stop),
                edge_ids=edge_ids[order],
                dst=dst,
                src=src,
                own=sources[:num_own],
                routes=connect(halo.world, needed, halo.config),
            )
        )
    return runs


def _edge_ids(edge_ids: Tensor | None, chosen: slice, device: torch.device) -> Tensor:
    if edge_ids is None:
        return torch.arange(chosen.start, chosen.stop, device=device)
    return edge_ids[chosen].long()


Layer = Callable[[Neighbourhood, Arguments], Tensor]


def run_by_neighbourhood(
    layer: Layer,
    runs: Sequence[Neighbourhood],
    arguments: Arguments,
    within: Callable[[], AbstractContextManager[None]] = nullcontext,
    *,
    per_edge: bool = False,
) -> Tensor:
    """Compute ``layer`` on one neighbourhood at a time, and again in backward. Collective.

    Args:
        layer: takes a neighbourhood and its share of the arguments: source rows as `Neighbourhood.gather` gives them,
            rows of its destinations, rows of its edges, and the others whole; returns a row per destination,
            or per edge.
            It must compute the same when called again from the same states of the generators.
        runs: from `neighbourhoods`.
        arguments: what it works on.
        within: what it runs in, forward and backward.
        per_edge: whether ``layer`` returns a row per edge.

    Returns:
        ``[num_dst, …]`` or, per edge, ``[num_edges, …]`` in the order of `Neighbourhood.edge_ids` of one run after
        another; differentiable with respect to all arguments.
    """
    job = _Job(layer, runs, within, per_edge, Replay.of_now(runs[0].edge_ids.device))
    return _ByNeighbourhood.apply(job, arguments, *arguments.all)  # pyright: ignore[reportReturnType]


@dataclass(frozen=True)
class _Job:
    """What `run_by_neighbourhood` was asked, but for the arguments."""

    layer: Layer
    runs: Sequence[Neighbourhood]
    within: Callable[[], AbstractContextManager[None]]
    per_edge: bool
    replay: Replay

    def is_run(self, run: Neighbourhood) -> bool:
        """The first one on every rank: there one without destinations learns the shape of its output, and what the
        layer refuses is refused on all."""
        return len(run.rows) > 0 or run is self.runs[0]

    def place(self, run: Neighbourhood) -> slice:
        """Where its rows of the output are."""
        place = run.edges if self.per_edge else run.rows
        return slice(place.start, place.stop)


class _ByNeighbourhood(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, job: _Job, arguments: Arguments, *tensors: Tensor) -> Tensor:
        last, out = job.replay.draws, None
        for run in job.runs:
            share = _share(run, arguments.like(tensors))  # which other ranks take part in
            if job.is_run(run):
                with job.replay.again(), job.within():
                    piece = job.layer(run, share)
                    last = generators_state(job.replay.device)
                out = _put(piece, out, job.place(run), job.place(job.runs[-1]).stop)
                del piece
            del share
        set_generators(last, job.replay.device)
        ctx.job, ctx.places, ctx.read = job, arguments.like([None] * len(tensors)), arguments.read
        ctx.first = first_places(arguments.all)
        ctx.save_for_backward(*tensors)
        assert out is not None
        return out

    @staticmethod
    @backward_once
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        job: _Job = ctx.job
        whole: Arguments = ctx.places.like(ctx.saved_tensors)
        sums = GradientSums.zeros(whole, ctx.needs_input_grad[2:], ctx.first)
        for run in job.runs:
            share = _share(run, whole)
            given = (*share.src, *share.dst, *share.edge, *share.shared)
            leaves = [t.detach().requires_grad_(n) for t, n in zip(given, sums.needs.all, strict=False)]
            # Parameters are read by the layer itself, so gradients are asked for the originals.
            share = whole.like([*leaves, *ctx.read])
            del given, leaves
            found = _gradients(job, run, share, sums, grads[0][job.place(run)])
            for total, grad, add in zip(sums.totals.all, found, _adders(run, whole), strict=True):
                if grad is not None:
                    add(grad, total)
            del share, found
        return None, None, *sums.result()


def _put(piece: Tensor, out: Tensor | None, place: slice, num_rows: int) -> Tensor:
    """Write one run's rows; to join them in the end would hold all of them twice."""
    if out is None and len(piece) == num_rows:
        return piece.clone() if piece._is_view() else piece  # a view could not be changed in place
    if out is None:
        out = piece.new_empty((num_rows, *piece.shape[1:]))
    out[place] = piece
    return out


def _share(run: Neighbourhood, arguments: Arguments) -> Arguments:
    return Arguments(
        tuple(run.gather(t) for t in arguments.src),
        tuple(t[run.rows.start : run.rows.stop] for t in arguments.dst),
        tuple(t.index_select(0, run.edge_ids) for t in arguments.edge),
        arguments.shared,
        arguments.read,
    )


def _adders(run: Neighbourhood, whole: Arguments) -> Iterator[Callable[[Tensor, Tensor], Any]]:
    """For each argument, how the gradient of one run's share is added to that of the whole: the adjoint of `_share`."""
    yield from [run.give_back] * len(whole.src)
    yield from [lambda grad, total: total[run.rows.start : run.rows.stop].add_(grad)] * len(whole.dst)
    yield from [lambda grad, total: total.index_add_(0, run.edge_ids, grad)] * len(whole.edge)
    yield from [lambda grad, total: total.add_(grad)] * (len(whole.shared) + len(whole.read))


def _gradients(
    job: _Job, run: Neighbourhood, share: Arguments, sums: GradientSums, grad: Tensor
) -> list[Tensor | None]:
    """A gradient for each of one run's share that needs one; zeros where nothing depends on it, or the run is empty."""
    wanted = [t for t, need in zip(share.all, sums.needs.all, strict=True) if need]
    found: Sequence[Tensor | None] = [None] * len(wanted)
    if wanted and job.is_run(run):
        with torch.enable_grad(), job.replay.again(), job.within():
            out = job.layer(run, share)
        if out.requires_grad:
            found = torch.autograd.grad(out, wanted, grad, allow_unused=True)
    if run is job.runs[0]:
        sums.reach(found[len(wanted) - sum(sums.needs.read) :])
    filled = iter(torch.zeros_like(t) if g is None else g for t, g in zip(wanted, found, strict=True))
    return [next(filled) if need else None for need in sums.needs.all]
