"""No port of a run on one machine is open to others, and none obeys what it is sent."""

import concurrent.futures
import os
import pickle
import socket
import time
from pathlib import Path

import psutil
import pytest
import torch

import fullgraph as fg
from fullgraph.comm.launch import launch

pytestmark = pytest.mark.timeout(120)


class _Command:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path):
        self._path = path

    def __reduce__(self):
        return os.mkdir, (str(self._path),)


def _work_until(told: Path, here: Path) -> int:
    world = fg.init()
    world.all_reduce(torch.ones(1))
    (here / str(world.rank)).write_text(str(os.getpid()))
    while not told.exists():
        time.sleep(0.05)
    total = world.all_reduce(torch.ones(1))
    gathered = world.gather_objects(world.rank)
    world.close()
    return int(total) + len(gathered)


def _attack(told: Path, here: Path, launcher: int) -> dict[str, list[tuple[str, int]]]:
    """Runs as a rank beside the others' launcher: finds their ports and sends each a pickle."""
    while len(list(here.iterdir())) < 2:
        time.sleep(0.05)
    time.sleep(0.2)
    pids = {f"rank {each.name}": int(each.read_text()) for each in here.iterdir()} | {"launcher": launcher}
    found = {}
    command = pickle.dumps(_Command(here.parent / "obeyed"))
    for name, pid in pids.items():
        ports = [each.laddr for each in psutil.Process(pid).net_connections("tcp") if each.status == "LISTEN"]
        found[name] = [(each.ip, each.port) for each in ports]
        for each in ports:
            with socket.create_connection((each.ip, each.port), timeout=5) as probe:
                for message in (command, len(command).to_bytes(8, "little") + command):
                    try:
                        probe.sendall(message)
                    except OSError:
                        break  # it hung up
    time.sleep(1)
    told.touch()
    return found


def test_ports_listen_on_loopback_only_and_run_nothing(tmp_path):
    here, told = tmp_path / "here", tmp_path / "told"
    here.mkdir()
    with concurrent.futures.ThreadPoolExecutor(1) as beside:
        attack = beside.submit(_attack, told, here, os.getpid())
        assert launch(_work_until, told, here, num_ranks=2) == [4, 4]
        found = attack.result()
    assert all(found.values()), "every process of a run listens"
    addresses = {ip for ports in found.values() for ip, _ in ports}
    assert addresses == {"127.0.0.1"}
    assert not (tmp_path / "obeyed").exists()
