"""Slow links on one machine: every rank in a network namespace of its own, joined by links of a given rate.

Linux only. Needs the right to make network namespaces (root) and the commands ``ip`` and ``tc``.
"""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fullgraph.errors import InputError

_CLONE_NEWNET = 0x40000000  # sched.h
_SWITCH = "10.77.0.254"  # where the namespaces find this machine
_DEVICE = "shaped0"  # the end of the link inside a rank's namespace


@dataclass(frozen=True)
class Network:
    """Ranks that are each on a link of their own, with a switch in the middle.

    Attributes:
        name: of this network, at most 8 letters; part of the names of namespaces and devices.
        switch: the address of this machine that ranks can reach.
    """

    name: str
    switch: str = _SWITCH

    def enter(self, rank: int) -> None:
        """Move the calling thread, and all that it starts from now on, to the namespace of ``rank``."""
        libc = ctypes.CDLL(None, use_errno=True)
        with Path(f"/run/netns/{self.name}-{rank}").open() as namespace:
            if libc.setns(namespace.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"cannot enter network namespace {self.name}-{rank}")
        os.environ.update(GLOO_SOCKET_IFNAME=_DEVICE)


@contextmanager
def network(num_ranks: int, rate: str) -> Iterator[Network]:
    """Make the links of ``num_ranks`` ranks; all is removed in the end.

    Args:
        rate: of a link in each direction, as ``tc`` writes it, ``1gbit``.

    Raises:
        InputError: if this is not permitted here, with what is needed.
    """
    made = Network(f"fg{os.getpid() % 1_000_000}")
    bucket = f"root tbf rate {rate} burst 256kb latency 20ms"
    for command in ("ip", "tc"):
        if shutil.which(command) is None:
            raise InputError(f"shaped links need Linux with iproute2 installed; there is no command: {command}")
    try:
        _run(f"ip link add {made.name} type bridge")
        _run(f"ip addr add {made.switch}/24 dev {made.name}")
        _run(f"ip link set {made.name} up")
        for rank in range(num_ranks):
            inside, port = f"{made.name}-{rank}", f"{made.name}p{rank}"
            _run(f"ip netns add {inside}")
            _run(f"ip link add {port} type veth peer name {_DEVICE} netns {inside}")
            _run(f"ip link set {port} master {made.name} up")
            _run(f"ip -n {inside} addr add 10.77.0.{rank + 1}/24 dev {_DEVICE}")
            _run(f"ip -n {inside} link set {_DEVICE} up")
            _run(f"ip -n {inside} link set lo up")
            _run(f"tc -n {inside} qdisc add dev {_DEVICE} {bucket}")
            _run(f"tc qdisc add dev {port} {bucket}")
        yield made
    finally:
        for rank in range(num_ranks):  # the links first, since a namespace is only forgotten, and ends some time later
            subprocess.run(["ip", "link", "del", f"{made.name}p{rank}"], check=False, capture_output=True)
            subprocess.run(["ip", "netns", "del", f"{made.name}-{rank}"], check=False, capture_output=True)
        subprocess.run(["ip", "link", "del", made.name], check=False, capture_output=True)


def _run(command: str) -> None:
    done = subprocess.run(command.split(), check=False, capture_output=True, text=True)
    if done.returncode:
        raise InputError(
            "shaped links need root and a kernel with network namespaces, veth, bridge and tbf; "
            f"`{command}` said: {done.stderr.strip()}"
        )
