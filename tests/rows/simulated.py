"""Ranks as threads of one process that run one at a time: what would hang between processes is an error that says why.

A rank runs until it waits for others; then the next one that can go on does. So a run is the same every time, a rank
that leaves out a collective is found at once and by name where processes would wait for a time-out, and a collective
costs microseconds. Each rank has its own state of torch's generator, as processes have.
"""

import sys
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch import Tensor
from torch.testing._internal.distributed.fake_pg import FakeStore

from fullgraph.comm import World


class Diverged(BaseException):
    """Ranks wait for each other forever, or say different things to each other. No handler's ``except`` takes it."""


@dataclass(frozen=True, kw_only=True)
class SimulatedWorld(World):
    """A rank of a `Meeting`, which carries what collectives say."""

    meeting: "Meeting"

    def all_reduce(self, tensor: Tensor) -> Tensor:
        return tensor.copy_(torch.stack(self._heard("sum", tensor)).sum(0, dtype=tensor.dtype))

    def all_max(self, tensor: Tensor) -> Tensor:
        return tensor.copy_(torch.stack(self._heard("max", tensor)).amax(0))

    def broadcast(self, tensor: Tensor, root: int = 0) -> Tensor:
        return tensor.copy_(self._heard(f"broadcast of {root}", tensor)[root])

    def gather_objects(self, value: Any) -> list[Any]:
        return self.meeting.exchange(self.rank, "objects", value)

    def _heard(self, kind: str, tensor: Tensor) -> list[Tensor]:
        assert not tensor.requires_grad, "a backend would not follow gradients"
        what = f"{kind} of {tuple(tensor.shape)} {tensor.dtype}"
        return self.meeting.exchange(self.rank, what, tensor.detach().clone())


class Meeting:
    """Ranks that take turns."""

    def __init__(self, num_ranks: int):
        self.num_ranks = num_ranks
        self.worlds = [
            SimulatedWorld(rank=r, num_ranks=num_ranks, backend="threads", meeting=self, post=self._poster(r))
            for r in range(num_ranks)
        ]
        self._turn = [threading.Semaphore(0) for _ in range(num_ranks)]

    def run(self, function: Callable[[SimulatedWorld], Any]) -> list[Any]:
        """``function`` of each rank's world.

        Raises:
            Diverged: if ranks do not do the same collectives, and none has raised anything else. ``steps`` then says
                which step each of them was in.
        """
        self._ready: list[Callable[[], bool] | None] = [lambda: True] * self.num_ranks
        self._said: list[tuple[str, Any] | None] = [None] * self.num_ranks
        self._heard: list[Any] = []
        self._meetings = 0
        self._mail: dict[tuple[int, int], deque[tuple[int, Tensor]]] = defaultdict(deque)
        self.steps = [0] * self.num_ranks
        self._why: str | None = None
        self._random = [torch.get_rng_state()] * self.num_ranks
        results: list[Any] = [None] * self.num_ranks
        failures: list[BaseException | None] = [None] * self.num_ranks

        def of_rank(rank: int) -> None:
            self._turn[rank].acquire()
            try:
                torch.set_rng_state(self._random[rank])
                results[rank] = function(self.worlds[rank])
            except BaseException as error:
                failures[rank] = error
            self._ready[rank] = None
            self._go_on(rank)

        threads = [threading.Thread(target=of_rank, args=(rank,), daemon=True) for rank in range(self.num_ranks)]
        for thread in threads:
            thread.start()
        self._turn[0].release()
        for thread in threads:
            thread.join()
        for failure in failures:
            if failure is not None and not isinstance(failure, Diverged):
                raise failure
        if self._why is None and any(self._mail.values()):
            self._why = "a message was sent that nobody received"
        if self._why is not None:
            raise Diverged(self._why)
        return results

    def begin(self, rank: int, step: int) -> None:
        """A rank begins a step of its program: what ranks say in different ones is never taken for the same."""
        self.steps[rank] = step

    def exchange(self, rank: int, what: str, value: Any) -> list[Any]:
        """Every rank's value, in rank order."""
        self._said[rank] = (f"{what} in step {self.steps[rank]}", value)
        mine = self._meetings
        said = [each for each in self._said if each is not None]
        if len(said) == self.num_ranks:
            if len({each[0] for each in said}) > 1:
                self._diverge("ranks meet for different things: " + "; ".join(each[0] for each in said))
            self._heard, self._said = [each[1] for each in said], [None] * self.num_ranks
            self._meetings += 1
            return self._heard
        self._wait(rank, lambda: self._meetings > mine)
        return self._heard

    def _diverge(self, why: str) -> NoReturn:
        self._why = why
        raise Diverged(why)

    def _wait(self, rank: int, ready: Callable[[], bool]) -> None:
        if ready():
            return
        self._random[rank] = torch.get_rng_state()
        self._ready[rank] = ready
        self._go_on(rank)
        self._turn[rank].acquire()
        torch.set_rng_state(self._random[rank])
        if self._why is not None:
            raise Diverged(self._why)
        self._ready[rank] = lambda: True

    def _go_on(self, rank: int) -> None:
        """Let the next rank go on that can."""
        order = [(rank + step) % self.num_ranks for step in range(1, self.num_ranks + 1)]
        unfinished = [each for each in order if self._ready[each] is not None]
        for each in unfinished:
            ready = self._ready[each]
            if self._why is not None or (ready is not None and ready()):
                self._turn[each].release()
                return
        if unfinished:
            waits = {each: (self._said[each] or ("a message", None))[0] for each in sorted(unfinished)}
            self._why = "ranks wait for others that never come: " + "; ".join(f"{r} for {w}" for r, w in waits.items())
            self._turn[unfinished[0]].release()

    def _poster(self, rank: int) -> Callable[[list[dist.P2POp]], list[Any]]:
        def post(operations: list[dist.P2POp]) -> list[Any]:
            works = []
            for operation in operations:
                if operation.op is dist.isend:
                    message = self.steps[rank], operation.tensor.detach().clone()
                    self._mail[rank, operation.peer].append(message)
                else:
                    works.append(_Receiving(self, rank, operation.peer, operation.tensor))
            return works

        return post

    def receive(self, rank: int, peer: int, into: Tensor) -> None:
        """Fill ``into`` by the next message of a rank to another."""
        box = self._mail[peer, rank]
        self._wait(rank, lambda: bool(box))
        step, message = box.popleft()
        if step != self.steps[rank]:
            self._diverge(f"a message of step {step} arrives in step {self.steps[rank]}")
        if message.shape != into.shape or message.dtype != into.dtype:
            self._diverge(f"{tuple(message.shape)} {message.dtype} arrives for {tuple(into.shape)} {into.dtype}")
        into.copy_(message)


@dataclass
class _Receiving:
    meeting: Meeting
    rank: int
    peer: int
    into: Tensor = field(repr=False)

    def wait(self) -> None:
        self.meeting.receive(self.rank, self.peer, self.into)


@contextmanager
def meeting(num_ranks: int) -> Iterator[Meeting]:
    """Ranks of this process. `torch.distributed` names peers only, in a group of its fake backend."""
    _unlock_cached_properties()
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=num_ranks)
    try:
        yield Meeting(num_ranks)
    finally:
        dist.destroy_process_group()


def _unlock_cached_properties() -> None:
    """Let ranks talk while one makes a cached property: Python 3.11 locks those of all objects of a class.

    Here one rank runs at a time and has its own objects.
    """
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "fullgraph":
            for of_class in filter(lambda each: isinstance(each, type), vars(module).values()):
                for member in vars(of_class).values():
                    if isinstance(member, cached_property) and hasattr(member, "lock"):
                        member.lock = nullcontext()  # pyright: ignore[reportAttributeAccessIssue]
