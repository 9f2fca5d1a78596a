"""The commands in the order a user meets them, and what each says to a mistake."""

import json
import os
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from fullgraph.bench.relational import quick_graph
from fullgraph.cli import main
from fullgraph.comm.launch import launch
from fullgraph.pyg.partition import partition
from fullgraph.train.metrics import read_metrics
from tests.train.graphs import NUM_NODES, write_graph, write_npz

pytestmark = pytest.mark.timeout(120)
TOO_MANY_RANKS = (
    "GraphMismatch: the graph has 2 parts but this run has 3 ranks; start at most 2 ranks, "
    "or `fullgraph partition … --num-parts 3`: {graph}\n"
)
SMALL = ["--hidden", "8", "--epochs", "3", "--precision", "64-true"]


def _run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(each) for each in arguments])
    return ended.value.code if isinstance(ended.value.code, int) else 0


@pytest.fixture
def graph(tmp_path) -> Path:
    return write_graph(tmp_path / "small.fg", num_parts=2)


def test_from_a_file_to_predictions(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    source = write_npz(tmp_path / "small.npz")
    assert _run("partition", source, "small.fg", "--num-parts", 2) == 0
    assert _run("info", "small.fg", "--plot", "small.png") == 0
    assert (tmp_path / "small.png").read_bytes().startswith(b"\x89PNG")
    gat = ["--model", "gat", "--heads", 2, "--trace", "trace.json"]
    assert _run("train", "small.fg", "--num-ranks", 2, "--run", "run", *gat, *SMALL) == 0
    assert {each["pid"] for each in json.loads(Path("trace.json").read_text())["traceEvents"]} == {0, 1}
    assert _run("predict", "small.fg", "run", "--out", "pred.npz", "--num-ranks", 2) == 0
    out = capsys.readouterr().out
    assert "wrote small.fg" in out
    assert "gat, 2 ranks, mode sar" in out
    assert "wrote pred.npz" in out
    with np.load("pred.npz") as predicted, np.load(source) as given:
        assert predicted["logits"].shape == (NUM_NODES, 3)
        test = given["test_idx"]
        accuracy = (predicted["pred"][test] == given["y"][test]).mean()
    assert accuracy == pytest.approx(json.loads(Path("run/summary.json").read_text())["test_scores"]["accuracy"])


def test_a_graph_of_several_types_is_trained_and_predicted(tmp_path):
    graph, run, out = tmp_path / "papers.fg", tmp_path / "run", tmp_path / "pred.npz"
    partition(quick_graph(), graph, num_parts=2, method="random")
    assert _run("train", graph, "--num-ranks", 2, "--run", run, "--model", "rgcn", *SMALL) == 0
    assert json.loads((run / "config.json").read_text())["target"] == "paper"
    assert _run("predict", graph, run, "--out", out) == 0
    with np.load(out) as predicted:
        assert predicted["logits"].shape == (60, 3)
        test = quick_graph().node_arrays["paper"]["test_mask"]
        accuracy = (predicted["pred"] == quick_graph().node_arrays["paper"]["y"])[test].mean()
    assert accuracy == pytest.approx(json.loads((run / "summary.json").read_text())["test_scores"]["accuracy"])


def test_a_source_is_partitioned_once_into_the_cache(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FULLGRAPH_CACHE", str(tmp_path / "cache"))
    source = write_npz(tmp_path / "small.npz")
    assert _run("train", source, *SMALL) == 0
    (graph,) = (tmp_path / "cache").iterdir()
    made = graph.stat().st_mtime_ns
    assert _run("train", source, *SMALL, "--run", "again") == 0
    assert [each.stat().st_mtime_ns for each in (tmp_path / "cache").iterdir()] == [made]
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name.startswith("small-")
    assert read_metrics(run)[-1]["train_loss"] == read_metrics(tmp_path / "again")[-1]["train_loss"]


def test_a_resumed_run_keeps_its_options(graph, tmp_path):
    assert _run("train", graph, "--run", tmp_path / "run", *SMALL) == 0
    assert _run("train", graph, "--run", tmp_path / "run", "--resume", "--epochs", 5) == 0
    assert _run("train", graph, "--run", tmp_path / "whole", *SMALL, "--epochs", 5) == 0
    losses = [[line["train_loss"] for line in read_metrics(tmp_path / name)] for name in ("run", "whole")]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 5


def test_a_file_says_what_options_say_and_a_run_can_be_given_back(graph, tmp_path):
    file = tmp_path / "small.toml"
    file.write_text('hidden = 4\nepochs = 3\nprecision = "64-true"\nweight_decay = 1e-3\nlr = 1\n')
    runs = {name: tmp_path / name for name in ("file", "options", "back")}
    assert _run("train", graph, "--run", runs["file"], "--config", file, "--hidden", 8, "--lr", 0.01) == 0
    assert _run("train", graph, "--run", runs["options"], *SMALL, "--weight-decay", 1e-3) == 0
    assert _run("train", graph, "--run", runs["back"], "--config", runs["file"] / "config.json") == 0
    configs = [(run / "config.json").read_text() for run in runs.values()]
    losses = [[line["train_loss"] for line in read_metrics(run)] for run in runs.values()]
    assert configs[0] == configs[1] == configs[2]
    assert losses[0] == losses[1] == losses[2]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "o.toml",
            "learning-rate = 1",
            "o.toml: a training config has no such field; the nearest is {any}: learning-rate",
        ),
        ("o.toml", "hidden = 'x'", "o.toml: hidden must be an int: 'x'"),
        ("o.toml", "[model]\nname = 'gat'", "o.toml: model must be a str: {{'name': 'gat'}}"),
        ("o.json", '{{"dropout": 1.5}}', "o.json: dropout must be at least 0 and below 1: 1.5"),
        ("o.json", "[1]", "the options must be an object, names and values: {folder}/o.json"),
        ("o.toml", "hidden = = 1", "the options cannot be read ({any}): {folder}/o.toml"),
        ("o.json", "{{", "the options cannot be read ({any}): {folder}/o.json"),
        ("o.yaml", "", "options are read from a file that ends in .toml or .json: {folder}/o.yaml"),
    ],
)
def test_options_of_a_file_that_will_not_do_are_one_line_and_exit_code_2(graph, tmp_path, capsys, name, text, message):
    (tmp_path / name).write_text(text.format())
    assert _run("train", graph, "--config", tmp_path / name) == 2
    said = re.escape(message.format(any="ANY", folder=tmp_path)).replace("ANY", ".+")
    assert re.fullmatch(f"InputError: {said}\n", capsys.readouterr().err)


def test_options_of_a_file_that_is_not_there_are_refused(graph, tmp_path, capsys):
    assert _run("train", graph, "--config", tmp_path / "no.toml") == 2
    assert capsys.readouterr().err.startswith("InputError: the options cannot be read (")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["train", "{graph}", "--model", "gcm"],
            "InputError: model must be one of gcn, sage, gin, gat, rgcn, hgt: 'gcm'\n",
        ),
        (["train", "{graph}", "--num-ranks", "0"], "InputError: --num-ranks must be at least 1: 0\n"),
        (
            ["train", "{graph}", "--resume"],
            "InputError: --resume needs the --run folder to go on with; the folder given: none\n",
        ),
        (
            ["train", "{graph}", "--resume", "--run", "{graph}"],
            (
                "InputError: the run folder has no checkpoint; give a run that wrote one, or train without --resume: "
                "{graph}\n"
            ),
        ),
        (
            ["train", "{graph}", "--num-ranks", "3", "--run", "{graph}-run"],
            TOO_MANY_RANKS,
        ),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(graph, capsys, arguments, message):
    assert _run(*(each.format(graph=graph) for each in arguments)) == 2
    captured = capsys.readouterr()
    assert captured.err == message.format(graph=graph)
    assert captured.out == ""


def test_an_unknown_source_or_graph_is_exit_code_2(tmp_path, capsys):
    for command in (["info", tmp_path / "no.fg"], ["train", tmp_path / "no.fg"], ["train", "no-such-data-set"]):
        assert _run(*command) == 2
        assert "no" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["partition", "info", "train", "predict"])
def test_help_has_an_example(capsys, command):
    assert _run(command, "--help") == 0
    assert f"Example: fullgraph {command} " in capsys.readouterr().out


def test_python_dash_m_is_the_same_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["fullgraph", "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("fullgraph", run_name="__main__")
    assert not ended.value.code
    out = capsys.readouterr().out
    assert all(command in out for command in ("partition", "info", "train", "predict"))


def test_one_rank_of_a_launcher_starts_no_others(graph, tmp_path, monkeypatch, capsys):
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}.items():
        monkeypatch.setenv(name, value)
    assert _run("train", graph, "--run", tmp_path / "run", *SMALL) == 0
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["num_ranks"] == 1
    assert _run("train", graph, "--run", tmp_path / "other", *SMALL, "--num-ranks", 2) == 2
    assert capsys.readouterr().err.endswith(
        "InputError: this process is one of 1 ranks that a launcher started, which --num-ranks cannot change; "
        "leave it out: 2\n"
    )


def _run_on_a_rank(cache: Path, *arguments: object) -> int:
    os.environ["FULLGRAPH_CACHE"] = str(cache)
    return _run(*arguments)


def test_two_ranks_of_a_launcher_train_together(tmp_path):
    """``launch`` has torchrun's agent start ranks in torchrun's environment, without importing torch anew in each."""
    source, run = write_npz(tmp_path / "small.npz"), tmp_path / "run"
    command = ("train", source, "--run-folder", run, *SMALL)
    assert launch(_run_on_a_rank, tmp_path / "cache", *command, num_ranks=2) == [0, 0]
    assert json.loads((run / "summary.json").read_text())["num_ranks"] == 2
    assert [line["epoch"] for line in read_metrics(run)] == [1, 2, 3]
