"""Under torchrun: signals write a checkpoint, whoever gets them, and a mistake is one line of a rank."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from fullgraph.train import checkpoint
from fullgraph.train.metrics import read_metrics
from tests.train.graphs import write_graph

pytestmark = pytest.mark.timeout(180)
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "fullgraph")


@pytest.fixture(scope="module")
def graph(tmp_path_factory) -> Path:
    return write_graph(tmp_path_factory.mktemp("graph") / "g.fg", num_parts=2)


def _started(*words: object) -> subprocess.Popen[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TORCHELASTIC")}
    return subprocess.Popen(
        [*TORCHRUN, *map(str, words)],
        env=environment | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _told(agent: subprocess.Popen[str], way: str) -> None:
    if way == "SIGTERM to torchrun":
        agent.terminate()
    elif way == "Ctrl-C":
        os.killpg(agent.pid, signal.SIGINT)
    else:
        psutil.Process(agent.pid).children()[1].terminate()


@pytest.mark.parametrize("way", ["SIGTERM to torchrun", "Ctrl-C", "SIGTERM to a rank"])
def test_a_run_that_is_told_to_stop_leaves_a_checkpoint(way, graph, tmp_path):
    run = tmp_path / "run"
    agent = _started("train", graph, "--epochs", 100_000, "--checkpoint-every", 0, "--run-folder", run)
    while not (run / "metrics.jsonl").exists() or len(read_metrics(run)) < 2:
        assert agent.poll() is None
        time.sleep(0.1)
    _told(agent, way)
    _, said = agent.communicate()
    assert agent.returncode == 1, "torchrun's own, whatever its ranks say"
    name = "SIGINT" if way == "Ctrl-C" else "SIGTERM"
    stopped = re.findall(rf"^Stopped: stopped by {name} after epoch (\d+), with a checkpoint of it$", said, re.M)
    assert len(stopped) == 1
    if way == "SIGTERM to a rank":
        assert re.search(r"exitcode +: 143 ", said)
    last, refused = checkpoint.load(run)
    assert refused == []
    assert last.epoch == int(stopped[0]) == len(read_metrics(run))


def test_a_mistake_is_said_without_a_line_of_our_code(graph, tmp_path):
    agent = _started("train", graph, "--split", 1, "--run-folder", tmp_path / "run")
    _, said = agent.communicate()
    mistake = "InputError: the graph's train_mask has 1 splits, counted from 0; split is: 1"
    assert 1 <= said.count(mistake) <= 3, "rank 0 says it, and torchrun for each rank that came so far"
    assert not re.search(r"fullgraph/\w+/\w+\.py", said)
