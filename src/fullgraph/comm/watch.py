"""Finds out which rank has stopped while all others wait for each other, so that no run hangs and errors name it.

Sockets say nothing of a peer that is frozen or behind a cut link, and of one that is gone only to its neighbours. So
each rank gives a sign of life through the run's store twice a second, and says what it does. The first that misses
another's, or sees that all only wait, says so there, in words, and all ranks end with these.
"""

import atexit
import datetime
import os
import socket
import struct
import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch.distributed as dist
from torch.distributed import Store  # pyright: ignore[reportPrivateImportUsage]

from fullgraph.errors import PeerLost

INTERVAL = 0.5
"""Seconds between two signs of life."""
GONE_AFTER = 2.0
"""Seconds without one after which a rank is gone, if a connection to some rank has broken."""
NAMED_WITHIN = 4.0
"""Seconds that a rank with a broken connection waits to learn who is gone."""
LAST_RESORT = 8.0
"""Seconds that a program has to notice that the run is over, before it is ended."""
JOIN_TIMEOUT = datetime.timedelta(minutes=10)
_LEFT = "left"
"""The sign of a rank that needs the others no more. Any other is its number, for how many signs it waits, and words."""
_BYTES_RECEIVED = struct.Struct("128xQ")
"""Where the kernel's `tcp_info` (linux/tcp.h) has how much has come."""


@dataclass
class _Heard:
    sign: str
    at: float


@dataclass(eq=False)
class Watch(threading.Thread):
    """One rank's watch over all, in a thread of its own; a process has one at most.

    Attributes:
        store: of the run, over a connection of this watch's own.
        rank: this rank.
        num_ranks: all ranks.
        timeout: seconds without a sign of life after which a rank counts as stopped.
        hosts: whether the store is in this process.
        tells: whether this process must print the verdict if its program does not notice; a launcher reads the store.
        links: sockets of the backend, which are cut in the end.
        waiting: what this rank waits for, or "" while it computes.
        operation: how many times it has waited.
        place: where in its work it is, such as ``epoch 3``.
        verdict: who has stopped, in words; "" as long as nobody has.
    """

    store: Store
    rank: int
    num_ranks: int
    timeout: float
    hosts: bool = False
    tells: bool = True
    links: frozenset[int] = frozenset()
    waiting: str = ""
    operation: int = 0
    place: str = ""
    verdict: str = ""

    def __post_init__(self) -> None:
        super().__init__(name="signs of life", daemon=True)
        self._over, self._noticed = threading.Event(), threading.Event()
        self._names: list[str] = []
        self._heard: list[_Heard] = []
        self._reached = time.monotonic()
        self._broken_while = ""  # what this rank waited for when its connection broke

    def begin(self) -> None:
        """Wait for all ranks and begin to watch them.

        Raises:
            PeerLost: a rank did not come within ten minutes.
        """
        if self.rank == 0:
            self.store.set("verdict", "")
        self.store.set(f"name/{self.rank}", f"machine {socket.gethostname()}, process {os.getpid()}")
        self.store.set(f"sign/{self.rank}", "0 0 computing")
        for rank in range(self.num_ranks):
            try:
                self.store.wait([f"name/{rank}", f"sign/{rank}", "verdict"], JOIN_TIMEOUT)
            except dist.DistError as error:
                raise PeerLost(
                    f"rank {rank} of {self.num_ranks} did not join within {JOIN_TIMEOUT}; start it, or look for its "
                    f"first error; waiting was: rank {self.rank}"
                ) from error
        self._names = [each.decode() for each in self.store.multi_get([f"name/{r}" for r in range(self.num_ranks)])]
        self._reached = time.monotonic()
        self._heard = [_Heard("", self._reached) for _ in range(self.num_ranks)]
        self.start()
        threading.Thread(target=self._end_the_wait, name="watch", daemon=True).start()
        atexit.register(self.leave)

    def leave(self) -> None:
        """This rank is done, and the others need not miss it."""
        atexit.unregister(self.leave)
        self._over.set()
        self.join(timeout=GONE_AFTER)
        if self.hosts:
            time.sleep(2 * INTERVAL)  # so that the others hear it before the store ends with this process

    def refuse(self) -> None:
        """Raise if the run is known to be over.

        Raises:
            PeerLost: with the verdict.
        """
        if self.verdict:
            self._noticed.set()
            raise PeerLost(self.verdict)

    def reason(self, error: Exception) -> str:
        """Why a message did not come: the verdict, or what the backend says if there is none within some seconds."""
        self._noticed.set()
        self._broken_while = self.waiting
        deadline = time.monotonic() + NAMED_WITHIN
        while not self.verdict and time.monotonic() < deadline:
            self._over.wait(INTERVAL / 5)
        first_line = str(error).strip().partition("\n")[0] or type(error).__name__
        return self.verdict or (
            f"rank {self.rank} of {self.num_ranks} lost its connection while waiting for {self._broken_while}; "
            f"another rank has stopped, look for the first error among the ranks: {first_line}"
        )

    def run(self) -> None:
        """Give signs of life and hear the others'; no other thread talks to the store, which may not answer."""
        keys = ["verdict", *(f"sign/{rank}" for rank in range(self.num_ranks))]
        number = stuck = 0
        before = None
        while not self._over.wait(INTERVAL):
            number += 1
            doing = self._doing(self.waiting) + f" (operation {self.operation})" * bool(self.waiting)
            now = (doing, _received(self.links))
            stuck = stuck + 1 if now == before and self.waiting and self.links else 0
            before = now
            with suppress(dist.DistError):  # the other thread notices for how long
                self.store.set(f"sign/{self.rank}", f"{number} {stuck} {doing}")
                verdict, *signs = (each.decode() for each in self.store.multi_get(keys))
                self._hear(signs)
                said = verdict or self._missing() or self._stuck()
                if said and not verdict:  # what another rank has said before counts
                    said = self.store.compare_set("verdict", "", said).decode() or said
                self.verdict = self.verdict or said
        with suppress(dist.DistError):
            self.store.set(f"sign/{self.rank}", _LEFT)

    def _hear(self, signs: list[str]) -> None:
        now = time.monotonic()
        was_away = now - self._reached > 4 * INTERVAL  # frozen or starved itself, and so knows nothing of the others
        self._reached = now
        for heard, sign in zip(self._heard, signs, strict=True):
            if was_away or sign not in (heard.sign, _LEFT):
                heard.at = now
            heard.sign = sign

    def _missing(self) -> str:
        """Who has stopped, if one has."""
        waiting_for = self._broken_while or self.waiting
        for rank, heard in enumerate(self._heard):
            seconds, who = self._reached - heard.at, f"rank {rank} ({self._names[rank]})"
            if self._broken_while and rank != self.rank and (heard.sign == _LEFT or seconds > GONE_AFTER):
                who = f"{who} is gone"
            elif heard.sign != _LEFT and seconds > self.timeout:
                who = f"{who} has been silent for {self.timeout:g} seconds"
            else:
                continue
            return f"{who}; rank {self.rank} was {self._doing(waiting_for)}; all ranks stop"
        return ""

    def _stuck(self) -> str:
        """What each rank waits for, if all have waited for so long that nothing will come."""
        ranks: defaultdict[str, list[str]] = defaultdict(list)
        for rank, heard in enumerate(self._heard):
            if heard.sign != _LEFT:
                _, stuck, doing = heard.sign.split(" ", 2)
                if int(stuck) * INTERVAL <= self.timeout:
                    return ""
                ranks[doing].append(str(rank))
        return (
            f"all ranks wait, and nothing has come for {self.timeout:g} seconds; one calls what another does not, or a "
            "link between two is cut; all ranks stop; "
            + "; ".join(f"{doing}: rank {', '.join(those)}" for doing, those in ranks.items())
        )

    def _doing(self, waiting_for: str) -> str:
        return (f"waiting for {waiting_for}" if waiting_for else "computing") + (f" in {self.place}" * bool(self.place))

    def _end_the_wait(self) -> None:
        """No message is sent here, so nothing can hold this thread up."""
        ticked = time.monotonic()
        while not self.verdict:
            if self._over.wait(INTERVAL / 2):
                return
            now = time.monotonic()
            if now - ticked > 4 * INTERVAL:
                self._reached = now
            ticked = now
            if now - self._reached <= self.timeout:
                continue
            if self._heard[0].sign == _LEFT:  # which may have had the store with it
                return
            self.verdict = (
                f"rank {self.rank} ({self._names[self.rank]}) has not reached the others for {self.timeout:g} seconds; "
                f"its link is cut, or what holds the run's store has stopped; it was {self._doing(self.waiting)}"
            )
        for descriptor in self.links:  # a message from a frozen peer never comes, and gloo would wait for it
            with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as link:
                link.shutdown(socket.SHUT_RDWR)
        if not self._noticed.wait(LAST_RESORT):
            if self.tells:
                os.write(2, f"PeerLost: {self.verdict}\n".encode())
            os._exit(PeerLost.exit_code)


def _received(links: Iterable[int]) -> int:
    """Bytes that have come over sockets; one that is closed counts for nothing."""
    total = 0
    for descriptor in links:
        with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as link:
            info = link.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_RECEIVED.size)
            total += _BYTES_RECEIVED.unpack(info)[0]
    return total


def sockets(besides_port: int) -> frozenset[int]:
    """Descriptors of this process's connected sockets, but for those to a port."""
    found = set()
    for each in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            if os.readlink(each).startswith("socket:"):
                with socket.socket(fileno=os.dup(int(each.name))) as link:
                    family, peer = link.family, link.getpeername()
                if family in (socket.AF_INET, socket.AF_INET6) and peer[1] != besides_port:
                    found.add(int(each.name))
    return frozenset(found)
