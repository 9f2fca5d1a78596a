"""A rank killed in mid-epoch takes the others along within seconds, and the run goes on from its checkpoint."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fullgraph.cli import main
from fullgraph.train import checkpoint
from fullgraph.train.metrics import read_metrics
from tests.train.graphs import write_graph

pytestmark = pytest.mark.timeout(180)
OPTIONS = ["--hidden", "8", "--precision", "64-true", "--dropout", "0.5", "--norm", "batch", "--checkpoint-every", "5"]


def _arguments(graph: Path, run: Path, *more: str) -> list[str]:
    return ["train", str(graph), "--num-ranks", "4", "--run", str(run), *more]


def _children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _ranks(launcher: int) -> list[int]:
    servers = [each for each in _children(launcher) if b"forkserver" in Path(f"/proc/{each}/cmdline").read_bytes()]
    return [each for server in servers for each in _children(server)]


def _alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_kill_and_resume(tmp_path):
    graph = write_graph(tmp_path / "small.fg", num_parts=4)
    run, whole = tmp_path / "run", tmp_path / "whole"
    launcher = subprocess.Popen(
        [sys.executable, "-m", "fullgraph", *_arguments(graph, run, *OPTIONS, "--epochs", "1000000")],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    try:
        while len(read_metrics(run)) < 7:
            assert launcher.poll() is None
            time.sleep(0.02)
        ranks = _ranks(launcher.pid)
        assert len(ranks) == 4
        os.kill(ranks[2], signal.SIGKILL)
        deadline = time.monotonic() + 10
        while any(_alive(each) for each in ranks):
            assert time.monotonic() < deadline, "ranks outlived the dead one by 10 seconds"
            time.sleep(0.05)
        said = launcher.communicate(timeout=20)[1]
    finally:
        launcher.kill()
    assert launcher.returncode == 3
    assert said.endswith(
        "PeerLost: rank 2 was killed by SIGKILL; the machine may be out of memory; all other ranks were stopped\n"
        f"to go on from the last checkpoint: fullgraph train {graph} --num-ranks 4 --run {run} --resume\n"
    )
    assert not re.search(r"Traceback|rank [013]", said)

    epochs = str(checkpoint.load(run)[0].epoch + 4)
    for arguments in (_arguments(graph, run, "--resume"), _arguments(graph, whole, *OPTIONS)):
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--epochs", epochs])
        assert not ended.value.code
    losses = [[line["train_loss"] for line in read_metrics(each)] for each in (run, whole)]
    assert len(losses[0]) == int(epochs)
    assert losses[0] == losses[1]
