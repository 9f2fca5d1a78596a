"""Ranks killed at random moments, many times in one run: it always goes on, and ends with the bits of a run left alone.

In CI ten are killed; by hand: ``pytest tests/soak --kills 200 --kill-seed 7 --timeout 3600``.
"""

import random
import threading
import time
from pathlib import Path

import psutil
import pytest
import torch

from fullgraph.comm import init
from fullgraph.comm.launch import launch
from fullgraph.errors import PeerLost
from fullgraph.train import TrainConfig, checkpoint, train
from tests.train.graphs import write_graph

CONFIG = TrainConfig(hidden=8, epochs=60, checkpoint_every=1, norm="batch", dropout=0.5, keep_checkpoints=2)
KILLS_OF_A_RUN = 10
LONGEST_SECONDS = 1.5
"""A run is killed within these after it has begun: while it opens, trains, or writes one of many checkpoints."""


def _rank(graph: Path, run: Path, resume: bool) -> None:
    world = init()
    train(graph, run, CONFIG, world, resume=resume)
    world.close()


def _ranks(before: set[int]) -> list[psutil.Process]:
    servers = [each for each in psutil.Process().children() if "forkserver" in " ".join(each.cmdline())]
    return [each for server in servers for each in server.children() if each.pid not in before]


def _launch_and_kill(graph: Path, run: Path, chance: random.Random) -> bool:
    """Start or resume the run, and kill one of its ranks; whether that came in time."""
    before = {each.pid for each in _ranks(set())}
    delay, victim, over = chance.uniform(0, LONGEST_SECONDS), chance.randrange(2), threading.Event()

    def kill() -> None:
        while len(_ranks(before)) < 2 and not over.wait(0.005):
            pass
        over.wait(delay)
        ranks = _ranks(before)
        if len(ranks) == 2:
            ranks[victim].kill()

    beside = threading.Thread(target=kill)
    beside.start()
    try:
        launch(_rank, graph, run, bool(checkpoint.epochs(run)), num_ranks=2)
    except PeerLost as error:
        if "was killed by SIGKILL" not in str(error):
            raise
        return True
    finally:
        over.set()
        beside.join()
    return False


def _state(run: Path) -> dict[str, torch.Tensor]:
    last, refused = checkpoint.load(run)
    assert refused == []
    assert last.epoch == CONFIG.epochs
    moments = {f"{at} {key}": value for at, of in last.optimizer["state"].items() for key, value in of.items()}
    return {**last.model, **moments, "draws": last.randomness}


@pytest.mark.timeout(240)
def test_killed_ranks_change_no_bit_of_the_result(tmp_path, pytestconfig):
    kills, chance = pytestconfig.getoption("kills"), random.Random(pytestconfig.getoption("kill_seed"))
    graph = write_graph(tmp_path / "small.fg", num_parts=2)
    launch(_rank, graph, tmp_path / "whole", False, num_ranks=2)
    whole = _state(tmp_path / "whole")
    killed, number, start = 0, 0, time.monotonic()
    while killed < kills:
        run, number, of_run = tmp_path / f"run-{number}", number + 1, 0
        while of_run < KILLS_OF_A_RUN and _launch_and_kill(graph, run, chance):
            of_run += 1
        killed += of_run
        if not checkpoint.epochs(run) or checkpoint.load(run)[0].epoch < CONFIG.epochs:
            launch(_rank, graph, run, bool(checkpoint.epochs(run)), num_ranks=2)
        found = _state(run)
        assert found.keys() == whole.keys()
        for name, value in whole.items():
            assert torch.equal(found[name], value), (name, number)
    print(f"{killed} kills in {number} runs, {time.monotonic() - start:.0f} s")
