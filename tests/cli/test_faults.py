"""What happens to a run of several processes when one is told to stop, is killed, or meets another run."""

import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from fullgraph.cli import main
from fullgraph.comm import World
from fullgraph.errors import DiskFull
from fullgraph.train import TrainConfig, checkpoint, files, train
from fullgraph.train.metrics import read_metrics
from tests.train.graphs import write_graph

pytestmark = pytest.mark.timeout(180)
OPTIONS = ["--hidden", "8", "--dropout", "0.5", "--norm", "batch"]


@pytest.fixture(scope="module")
def graph(tmp_path_factory) -> Path:
    return write_graph(tmp_path_factory.mktemp("graph") / "small.fg", num_parts=2)


def run_command(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(each) for each in arguments])
    return ended.value.code if isinstance(ended.value.code, int) else 0


def run_and_disturb(disturb: Callable[[], None], run: Path, *arguments: object) -> int:
    """Run a command that trains, and ``disturb`` beside it when five epochs are done; the exit code."""
    over = threading.Event()

    def wait() -> None:
        while len(read_metrics(run)) < 5:
            if over.wait(0.02):
                return
        disturb()

    beside = threading.Thread(target=wait)
    beside.start()
    try:
        return run_command(*arguments)
    finally:
        over.set()
        beside.join()


def ranks() -> list[psutil.Process]:
    """The ranks that this process has started, which are forked from a server."""
    servers = [each for each in psutil.Process().children() if "forkserver" in " ".join(each.cmdline())]
    found = [each for server in servers for each in server.children()]
    return [each for each in found if not any("tests.ranks" in part for part in each.cmdline())]


@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_told_to_stop_writes_a_checkpoint_and_a_second_one_is_refused(graph, tmp_path, capfd, told):
    run = tmp_path / "run"
    arguments = ("train", graph, "--num-ranks", 2, "--run", run, *OPTIONS, "--checkpoint-every", 0)

    def disturb() -> None:
        before = (run / files.CONFIG).read_bytes()
        assert run_command(*arguments) == 2
        assert (run / files.CONFIG).read_bytes() == before
        os.kill(os.getpid(), told)

    assert run_and_disturb(disturb, run, *arguments, "--epochs", 1_000_000) == 128 + told
    epoch = checkpoint.load(run)[0].epoch
    assert epoch == len(read_metrics(run)) >= 5
    said = capfd.readouterr().err
    assert re.search(
        r"InputError: rank 0: another run is at work in this folder \(machine \S+, process \d+, since .*\); wait for "
        rf"it, stop it, or give another --run: {run}\n",
        said,
    )
    assert said.endswith(
        f"Stopped: stopped by SIGTERM after epoch {epoch}, with a checkpoint of it\n"
        f"to go on from the last checkpoint: fullgraph train {graph} --num-ranks 2 --run {run} --resume\n"
    )
    assert "Traceback" not in said


def test_ranks_end_with_their_launcher(graph, tmp_path):
    run = tmp_path / "run"
    command = [sys.executable, "-m", "fullgraph", "train", str(graph), "--num-ranks", "2", "--run", str(run), *OPTIONS]
    launcher = subprocess.Popen([*command, "--epochs", "1000000"], stderr=subprocess.DEVNULL)
    try:
        while len(read_metrics(run)) < 5:
            assert launcher.poll() is None
            time.sleep(0.02)
        processes = psutil.Process(launcher.pid).children(recursive=True)
    finally:
        launcher.kill()
        launcher.wait()
    _, alive = psutil.wait_procs(processes, timeout=30)
    assert len(processes) >= 4  # two ranks, a server of forks, a tracker of resources
    assert not alive


def test_a_killed_rank_is_started_again_from_the_checkpoint(graph, tmp_path, capfd):
    run, whole = tmp_path / "run", tmp_path / "whole"
    arguments = ("train", graph, "--num-ranks", 2, *OPTIONS, "--epochs", 60, "--checkpoint-every", 7)
    restarted = (*arguments, "--run", run, "--max-restarts", 1)
    before = {each.pid for each in ranks()}

    def disturb() -> None:
        ours = [each for each in ranks() if each.pid not in before]
        assert len(ours) == 2
        ours[1].kill()

    assert run_and_disturb(disturb, run, *restarted) == 0
    said = capfd.readouterr().err
    assert re.search(r"PeerLost: rank \d was killed by SIGKILL; .*\nstarting all ranks again\n", said)
    assert run_command(*arguments, "--run", whole) == 0
    losses = [[line["train_loss"] for line in read_metrics(each)] for each in (run, whole)]
    assert len(losses[0]) == 60
    assert losses[0] == losses[1]


def test_damaged_metrics_and_config_do_not_stop_a_resume(graph, tmp_path):
    run, whole = tmp_path / "run", tmp_path / "whole"
    small = ("train", graph, "--hidden", 8, "--dropout", 0.5)
    assert run_command(*small, "--run", run, "--epochs", 3) == 0
    assert run_command(*small, "--run", whole, "--epochs", 5) == 0
    (run / files.CONFIG).write_bytes(b"\xff{{{")
    with (run / files.METRICS).open("ab") as file:
        file.write(b'{"epoch": 4, "train\xff\n\x00\x01\n[]\n')
    assert run_command("train", graph, "--run", run, "--resume", "--epochs", 5) == 0
    losses = [[line["train_loss"] for line in read_metrics(each)] for each in (run, whole)]
    assert losses[0] == losses[1]
    assert (run / files.CONFIG).read_text() == (whole / files.CONFIG).read_text()


def test_a_full_disk_is_an_error_of_its_own_and_the_run_goes_on_later(graph, tmp_path):
    config = TrainConfig(hidden=8, epochs=2)
    train(graph, tmp_path / "run", config, World())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, limits[1]))  # beyond which a file cannot grow
    try:
        with pytest.raises(DiskFull, match=r"^the disk is full, or your share of it is; make room, then go on: "):
            train(graph, tmp_path / "run", replace(config, epochs=4), World(), resume=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert checkpoint.load(tmp_path / "run")[0].epoch == 2
    assert train(graph, tmp_path / "run", replace(config, epochs=4), World(), resume=True).epochs == 4
