"""The only place that moves rows between ranks: fetching them round by round, and its adjoint, returning them.

At most ``1 + prefetch`` rounds are in flight, so the foreign rows that a rank holds are bounded whatever the graph.
Nothing here waits for all ranks: a round needs only its two peers.
"""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, islice
from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor

from fullgraph import ops
from fullgraph.comm.schedule import Round, ring_schedule
from fullgraph.comm.spans import Work, span
from fullgraph.comm.wire import Wire, wire_for
from fullgraph.comm.world import World
from fullgraph.graph.block import Block

Account = Literal["rows_bytes", "setup_bytes"]

SHORT_ROUND = 1024
"""Rows of a round that saves too little memory to be cut."""


@dataclass(frozen=True)
class Routes:
    """What this rank sends to each rank, and how many rows it receives from each; fixed when a graph opens.

    Attributes:
        world: the ranks.
        send_rows: per rank, int64 local ids of the rows that it needs from this rank (empty for itself).
        receive_counts: per rank, how many rows this rank needs from it (0 for itself).
        longest: the largest number of rows between any two ranks, the same on all ranks.
        round_rows: most rows of one round.
        prefetch: rounds in flight beside the one in use.
        wire_dtype: how rows travel, see `comm.wire`.
        send_sums: per rank, where sums travel in place of rows: a block whose rows are the sums that it needs and
            whose columns are this rank's rows; `send_rows` is then empty.
    """

    world: World
    send_rows: tuple[Tensor, ...]
    receive_counts: tuple[int, ...]
    longest: int
    round_rows: int
    prefetch: int
    wire_dtype: str = "float32"
    send_sums: tuple[Block, ...] | None = None

    @classmethod
    def connect(
        cls, world: World, needed: Sequence[Tensor], round_rows: int, prefetch: int, wire_dtype: str = "float32"
    ) -> "Routes":
        """Ask every rank for its rows ``needed[rank]`` (int64, its local ids); learn what it asks for. Collective."""
        asked = tuple(swap(world, needed))
        counts = tuple(0 if rank == world.rank else len(rows) for rank, rows in enumerate(needed))
        return cls.cut(world, counts, round_rows, prefetch, wire_dtype, send_rows=asked)

    @classmethod
    def giving(cls, world: World, send_rows: tuple[Tensor, ...]) -> "Routes":
        """Routes by which each rank gives others what it chose, in rounds of a million rows. Collective."""
        lengths = world.gather_objects([len(rows) for rows in send_rows])
        counts = tuple(given[world.rank] for given in lengths)
        return cls(world, send_rows, counts, max(map(max, lengths)), round_rows=1 << 20, prefetch=0)

    @classmethod
    def cut(
        cls,
        world: World,
        receive_counts: tuple[int, ...],
        round_rows: int,
        prefetch: int,
        wire_dtype: str,
        *,
        send_rows: tuple[Tensor, ...] = (),
        send_sums: tuple[Block, ...] | None = None,
    ) -> "Routes":
        """Routes of what both ends know already, in rounds. Collective.

        A walk whose rounds are all in flight at once would hold the whole halo, beside what it is added to, and that is
        more than mode ``halo`` needs. So there are more rounds than that, unless they would be short.
        """
        longest = max(world.gather_objects(max(receive_counts)))
        several = -(-longest * (world.num_ranks - 1) // (prefetch + 2))
        round_rows = min(round_rows, max(several, SHORT_ROUND))
        return cls(world, send_rows, receive_counts, longest, round_rows, prefetch, wire_dtype, send_sums)

    @property
    def send_counts(self) -> list[int]:
        """Rows that each rank receives from this one, ``[num_ranks]``."""
        return [len(r) for r in self.send_rows] if self.send_sums is None else [b.num_rows for b in self.send_sums]

    @cached_property
    def rounds(self) -> list[Round]:
        """The schedule of this rank."""
        return ring_schedule(
            self.world.rank, self.world.num_ranks, self.send_counts, self.receive_counts, self.round_rows, self.longest
        )

    @cached_property
    def _sums_of_rounds(self) -> dict[Round, Block]:
        assert self.send_sums is not None
        return {r: self.send_sums[r.send_to].rows(r.send.start, r.send.stop) for r in self.rounds}

    def outgoing(self, round_: Round, x: Tensor, weight: Tensor | None = None) -> Tensor:
        """What a round sends of ``x`` ``[num_own, …]``: its rows, or sums of them, which may have weights."""
        if self.send_sums is None:
            return x.index_select(0, self.send_rows[round_.send_to][round_.send.start : round_.send.stop])
        block = self._sums_of_rounds[round_]
        out = x.new_empty((block.num_rows, x.shape[1]))
        edge_ids = None if weight is None else block.edge_ids
        ops.spmm(block.indptr, block.indices, x, out, weight=weight, edge_ids=edge_ids, overwrites=True)
        return out

    @cached_property
    def receive_offsets(self) -> list[int]:
        """Where the rows of each rank start when all are laid out in rank order, ``[num_ranks + 1]``."""
        return [*accumulate(self.receive_counts, initial=0)]

    def of_round(self, number: int, rows: Tensor) -> Tensor:
        """Of all received ``rows`` ``[num_received, …]``, in rank order, those that round ``number`` brings; a view."""
        round_ = self.rounds[number]
        offset = self.receive_offsets[round_.receive_from]
        return rows[offset + round_.receive.start : offset + round_.receive.stop]

    @property
    def num_received(self) -> int:
        """Rows that this rank receives in one walk over all rounds: its halo."""
        return sum(self.receive_counts)

    @property
    def num_sent(self) -> int:
        """Rows that this rank sends in one walk over all rounds: its boundary rows, once per rank that needs them."""
        return sum(self.send_counts)


def fetch(
    routes: Routes,
    payload: Sequence[Tensor],
    account: Account = "rows_bytes",
    *,
    exact: bool = False,
    packs: bool = False,
    purpose: str = "rows",
    weight: Tensor | None = None,
) -> Iterator[tuple[int, tuple[Tensor, ...]]]:
    """Bring the rows of ``payload`` that this rank needs, one round at a time.

    The first ``prefetch`` rounds are under way when this returns; work done before the first ``next`` hides them.

    Args:
        routes: who needs which rows.
        payload: tensors with one row per owned node, all moved in the same rounds.
        account: the traffic counter that pays.
        exact: whether rows travel with all digits, whatever ``routes.wire_dtype`` says.
        packs: whether rows may have many zeros, which need not travel: activations do, gradients do not.
        purpose: what a trace calls this walk.
        weight: of the entries of ``routes.send_sums``, by edge id; None for 1.

    Returns:
        An iterator over ``(round number, received rows of each payload tensor)``. Rows are those of
        ``routes.rounds[number].receive``; a round that only sends yields empty tensors.

    Raises:
        PeerLost: if the rank at the other end has stopped.
    """
    if exact and routes.wire_dtype != "float32":
        routes = replace(routes, wire_dtype="float32")
    start = time.perf_counter()
    walk, own_rows = ExitStack(), ExitStack()
    walk.enter_context(span(f"walk: {purpose}"))
    posts = (_post_fetch(routes, *each, payload, account, weight, packs=packs) for each in enumerate(routes.rounds))
    under_way = deque(islice(posts, routes.prefetch))
    own_rows.enter_context(span("own rows"))

    def rounds() -> Iterator[tuple[int, tuple[Tensor, ...]]]:
        own_rows.close()
        for number, round_ in enumerate(routes.rounds):
            under_way.extend(islice(posts, 1))
            posted = under_way.popleft()
            posted.wait(routes.world)
            with span(f"round {number}: rows of rank {round_.receive_from}"):
                yield number, posted.rows()
        walk.close()
        routes.world.traffic.walked_seconds += time.perf_counter() - start

    return rounds()


def fetch_all(routes: Routes, payload: Tensor, account: Account = "rows_bytes", *, packs: bool = False) -> Tensor:
    """Bring all rows of ``payload`` that this rank needs at once, in rank order: ``[num_received, …]``.

    ``packs`` is as in `fetch`.
    """
    world = routes.world
    received = payload.new_empty((routes.num_received, *payload.shape[1:]), device=world.wire_device)
    under_way = [
        _post_fetch(
            routes, number, round_, (payload,), account, None, into=[routes.of_round(number, received)], packs=packs
        )
        for number, round_ in enumerate(routes.rounds)
    ]
    for posted in under_way:
        posted.complete(world)
    return received.to(payload.device)


class Returns:
    """The adjoint of `fetch`: rows computed for other ranks' nodes travel home and are added there, in round order."""

    def __init__(self, routes: Routes, totals: Sequence[Tensor]):
        """``totals``: one tensor per returned tensor, with a row per owned node, added to in place."""
        self._routes, self._totals = routes, totals
        self._under_way: deque[tuple[_Posted, Round]] = deque()

    def post(self, number: int, rows: Sequence[Tensor]) -> None:
        """Send home what was computed for the rows of round ``number``; waits for rounds beyond ``prefetch``."""
        round_ = self._routes.rounds[number]
        posted = _post(
            self._routes,
            number,
            send_to=round_.receive_from,
            sent=rows if len(round_.receive) else (),
            receive_from=round_.send_to,
            empty=[t.new_empty((len(round_.send), *t.shape[1:])) for t in self._totals] if len(round_.send) else (),
            account="rows_bytes",
        )
        self._under_way.append((posted, round_))
        while len(self._under_way) > self._routes.prefetch:
            self._complete()

    def finish(self) -> None:
        """Wait until every row has come home."""
        while self._under_way:
            self._complete()

    def _complete(self) -> None:
        posted, round_ = self._under_way.popleft()
        received = posted.complete(self._routes.world)
        if received:
            home = self._routes.send_rows[round_.send_to][round_.send.start : round_.send.stop]
            for total, rows in zip(self._totals, received, strict=True):
                total.index_add_(0, home, rows)


def return_all(routes: Routes, rows: Tensor, total: Tensor) -> Tensor:
    """The adjoint of `fetch_all`: add ``rows`` ``[num_received, …]`` to ``total`` of their owners, in place."""
    returns = Returns(replace(routes, prefetch=len(routes.rounds)), (total,))
    for number in range(len(routes.rounds)):
        returns.post(number, (routes.of_round(number, rows),))
    returns.finish()
    return total


@dataclass(frozen=True)
class _Posted:
    works: list[Work]  # which hold the tensors that they move, so they go as soon as they are done
    sent: list[Tensor]  # held until then
    messages: list[tuple[Wire, tuple[Tensor, ...], Tensor]]  # as they arrive, and the rows that they will become
    device: torch.device
    awaited: str

    def complete(self, world: World) -> tuple[Tensor, ...]:
        self.wait(world)
        return self.rows()

    def wait(self, world: World) -> None:
        with world.awaiting(self.awaited):
            while self.works:
                self.works.pop(0).wait()
        self.sent.clear()

    def rows(self) -> tuple[Tensor, ...]:
        rows = []
        while self.messages:  # a message is freed before the next one becomes rows
            wire, message, into = self.messages.pop(0)
            rows.append(wire.decode(message, into).to(self.device))
        return tuple(rows)


def _post_fetch(
    routes: Routes,
    number: int,
    round_: Round,
    payload: Sequence[Tensor],
    account: Account,
    weight: Tensor | None,
    *,
    into: Sequence[Tensor] | None = None,
    packs: bool = False,
) -> _Posted:
    return _post(
        routes,
        number,
        send_to=round_.send_to,
        sent=[routes.outgoing(round_, t, weight) for t in payload] if len(round_.send) else (),
        receive_from=round_.receive_from,
        empty=into or [t.new_empty((len(round_.receive), *t.shape[1:])) for t in payload],
        account=account,
        packs=packs,
    )


def _post(
    routes: Routes,
    number: int,
    *,
    send_to: int,
    sent: Sequence[Tensor],
    receive_from: int,
    empty: Sequence[Tensor],
    account: Account,
    packs: bool = False,
) -> _Posted:
    world = routes.world
    packs = packs and world.backend == "gloo"  # whose receives may be longer than what is sent
    wires = [wire_for(rows, routes.wire_dtype, packs=packs) for rows in sent]
    outgoing = [t.to(world.wire_device) for wire, rows in zip(wires, sent, strict=True) for t in wire.encode(rows)]
    messages = []
    for rows in empty:
        wire, arriving = wire_for(rows, routes.wire_dtype, packs=packs), rows.to(world.wire_device)
        messages.append((wire, wire.buffers(arriving), arriving))
    # In one batch, because NCCL may lock when two ranks each send first. Receives come first: gloo tells the sender of
    # one through the queue of what is sent there, where rows would hold the word up. Empty tensors need no message.
    operations = [dist.P2POp(dist.irecv, t, receive_from) for _, message, _ in messages for t in message if t.numel()]
    operations += [dist.P2POp(dist.isend, t, send_to) for t in outgoing if t.numel()]
    sent_bytes = sum(t.numel() * t.element_size() for t in outgoing)
    setattr(world.traffic, account, getattr(world.traffic, account) + sent_bytes)
    awaited = f"rows of rank {receive_from} (and sending to rank {send_to}), round {number}"
    posted = time.time_ns()
    with world.awaiting(awaited, doing="posting"):
        works: list[Work] = [*world.post(operations)] if operations else []
    if world.traffic.transfers is not None and works:
        works = world.traffic.transfers.recorded(works, awaited, posted)
    return _Posted(works, outgoing, messages, world.device, awaited)


def swap(world: World, outgoing: Sequence[Tensor]) -> list[Tensor]:
    """Give every rank its own list and receive one from each; how structure is told when a graph opens.

    Args:
        outgoing: one tensor per rank, of any length, of one dtype and row shape on all ranks; the own one is ignored.

    Returns:
        What each rank sent to this one; empty for itself.
    """
    lengths = [0 if rank == world.rank else len(t) for rank, t in enumerate(outgoing)]
    payload = torch.cat([t[:length] for t, length in zip(outgoing, lengths, strict=True)])
    routes = Routes.giving(world, torch.arange(len(payload), device=payload.device).split(lengths))
    return list(fetch_all(routes, payload, "setup_bytes").split(routes.receive_counts))
