"""How commands speak: JSON that parses line by line, nothing, or lines that never leave a reader alone for long."""

import io
import json
import re
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout

import pytest

from fullgraph.cli.bar import Bar
from fullgraph.cli.lines import Lines
from fullgraph.cli.manners import listening, output
from fullgraph.stages import LOG, stage
from fullgraph.train import EpochMetrics, TrainConfig
from tests.cli.test_commands import SMALL, _run
from tests.train.graphs import write_graph


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    return write_graph(tmp_path_factory.mktemp("graph") / "small.fg", num_parts=2)


def _epoch(number: int, **values: object) -> EpochMetrics:
    bytes_ = {name: [0] for name in ("bytes_sent", "bytes_reduced", "eval_bytes_sent")}
    scores = {"val_scores": {"accuracy": 0.5}, "train_scores": {"accuracy": 1.0}}
    return EpochMetrics(epoch=number, train_loss=0.25, lr=0.1, seconds=0.5, eval_seconds=0.25, **scores, **bytes_)


def _apart(*words: object) -> subprocess.CompletedProcess[str]:
    """In a process of its own: ranks of this one would speak where its first ranks did."""
    command = [sys.executable, "-m", "fullgraph", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100)


def test_every_line_of_json_is_an_event(graph, tmp_path):
    done = _apart("train", graph, "--num-ranks", 2, "--run", tmp_path / "run", "--json", *SMALL)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["epoch"] for each in events if each["event"] == "epoch"] == [1, 2, 3]
    assert {"event": "stage", "stage": f"opening {graph}"} in events
    result = events[-1]
    assert (result["event"], result["epochs"], result["run"]) == ("result", 3, str(tmp_path / "run"))
    assert (done.returncode, done.stderr) == (0, "")


def test_an_error_is_an_event_and_a_line(tmp_path, capfd):
    assert _run("info", tmp_path / "none.fg", "--json") == 2
    out = capfd.readouterr()
    (event,) = map(json.loads, out.out.splitlines())
    assert (event["event"], event["exit_code"]) == ("error", 2)
    assert out.err == f"{event['type']}: {event['message']}\n"


def test_quiet_says_nothing_but_errors(graph, tmp_path, capfd):
    run = tmp_path / "run"
    for words in (("train", graph, "--run", run, *SMALL), ("predict", graph, run, "--out", tmp_path / "p.npz")):
        done = _apart(*words, "--quiet")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert _run("info", tmp_path / "none.fg", "--quiet") == 2
    assert capfd.readouterr().err.count("\n") == 1
    assert _run("info", graph, "--quiet", "--json") == 2
    assert "give one of them" in capfd.readouterr().err


@pytest.mark.parametrize(("manner", "where"), [("lines", redirect_stderr), ("json", redirect_stdout)])
def test_a_long_stage_is_heard_of(manner, where):
    with where(io.StringIO()) as said, listening(output(manner)), stage("waiting"):
        deadline = time.monotonic() + 30
        while not re.search('waiting: [0-9]+ s so far|"goes_on", "stage": "waiting"', said.getvalue()):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_short_stages_make_no_lines_and_the_logger_is_as_it_was():
    level, handlers = LOG.level, list(LOG.handlers)
    with redirect_stderr(io.StringIO()) as said, listening(output("lines")), stage("outer"), stage("inner"):
        pass
    assert said.getvalue() == ""
    assert (LOG.level, LOG.handlers) == (level, handlers)


def test_lines_of_epochs_say_how_much_is_left():
    with redirect_stderr(io.StringIO()) as said, listening(Lines()) as told:
        told.begin(TrainConfig(epochs=3), 0)
        for number in (1, 2, 3):
            told.epoch(_epoch(number))
        told.rewound(2)
        told.epoch(_epoch(3))
    of_first, *_, last = said.getvalue().splitlines()
    assert of_first == "epoch 1/3: loss 0.2500 val accuracy 0.5000, 0.75 s, left 2 s"
    assert last == "epoch 3/3: loss 0.2500 val accuracy 0.5000, 0.75 s"


def test_the_bar_shows_stages_and_epochs(capfd):
    with listening(Bar()) as told:
        with stage("outer"), stage("inner [x]"):
            pass
        told.begin(TrainConfig(epochs=2), 0)
        told.note("a [note]")
        told.epoch(_epoch(1))
        told.rewound(0)
        told.epoch(_epoch(2))
    err = capfd.readouterr().err
    assert "a [note]" in err
    assert "loss 0.2500 val accuracy 0.5000" in err


def test_a_stage_that_fails_ends_with_the_command(capfd):
    with pytest.raises(ValueError, match="broken"), listening(output("bar")), stage("failing"):
        raise ValueError("broken")
    with pytest.raises(ValueError, match="broken"), listening(output("lines")), stage("failing"):
        raise ValueError("broken")
