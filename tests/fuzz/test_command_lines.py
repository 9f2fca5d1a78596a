"""Whatever a user types: at most three lines say what is wrong, with exit code 2, and there is no traceback.

In CI every seventh of these wrong command lines is tried; ``--whole`` tries all.
"""

from pathlib import Path

import pytest

from fullgraph.cli import main
from tests.train.graphs import write_graph, write_npz

NUMBERS = ("", "x", "1.5e", "nan", "-1", "--", "0x10", "1_0_", "１０a", "∞")
WHOLE = (*NUMBERS, "1.5", "0.5")
PATHS = ("/proc/nowhere/at/all", "{file}", "{folder}", "{file}/below", "{folder}/" + "a" * 300, "", "\udcff")
COUNTS = ("0", "-3", str(2**63), str(10**30), "1000000")
COUNTED = ("--hidden", "--num-layers", "--epochs", "--eval-every", "--step-epochs", "--keep-checkpoints")
FROM_0 = ("--patience", "--checkpoint-every", "--agree-every", "--seed", "--held-mib", "--max-restarts")
CHOSEN = ("--model", "--norm", "--mode", "--precision", "--schedule", "--wire-dtype", "--recompute", "--on-nonfinite")
OPTIONS = {
    "partition": {
        "--num-parts": (*WHOLE, *COUNTS),
        "--method": ("", "Metis", "x"),
        "--seed": WHOLE,
        "--feature-dtype": ("int8", "", "float8"),
    },
    "info": {"--plot": ("{file}/below.png", "x.nope", "/proc/nowhere/x.png"), "--num-parts": ("2",)},
    "train": {
        **dict.fromkeys(COUNTED, (*WHOLE, "0", "-3")),
        **dict.fromkeys(("--lr", "--dropout", "--weight-decay", "--timeout"), (*NUMBERS, "-0.5", "inf")),
        **dict.fromkeys(FROM_0, (*WHOLE, "-3")),
        **dict.fromkeys(CHOSEN, ("", "x", "GCN ")),
        **dict.fromkeys(("--backend", "--device"), ("x", "cuda:99", "")),
        "--num-ranks": (*WHOLE, "0", "-3", "3", "1000000"),
        "--run": ("{file}", "{file}/below", "/proc/nowhere", "{folder}/" + "a" * 300),
        "--trace": ("{folder}", "{file}/below", "/proc/nowhere/x"),
        "--nope": ("1",),
        "--split": ("1", "-1"),
    },
    "predict": {
        "--out": ("", "x.csv", "{folder}", "/proc/nowhere/x.npz", "{file}/x.npz"),
        "--num-ranks": (*WHOLE, "0", "3"),
        "--device": ("x",),
        "--timeout": ("0", "nan"),
    },
    "bench": {"--label": ("x",)},
}
WRONG_WORDS = (
    *[("train", path) for path in PATHS],
    *[("info", path) for path in PATHS],
    *[("run", path) for path in PATHS if path != "{file}"],
    *[("run", "--num-ranks", value, "{file}") for value in (*WHOLE, "0", "-1")],
    *[("partition", path, "{folder}/new.fg", "--num-parts", "2") for path in PATHS],
    *[("partition", "{npz}", path, "--num-parts", "2") for path in ("{file}", "{graph}", "/proc/nowhere", "{file}/x")],
    *[("predict", "{graph}", path, "--out", "{folder}/pred.npz") for path in PATHS],
    *[("predict", path, "{folder}", "--out", "{folder}/pred.npz") for path in PATHS],
    *[(word,) for word in ("trian", "-x", "--", "", "train train", "\udcff", "predict", "partition", "info", "run")],
    *[
        ("train", "{graph}", *words)
        for words in (("extra",), ("--resume",), ("--resume", "--run", "/proc/nowhere"), ("--lr",))
    ],
    ("bench", "nope"),
    ("bench", "memory", "--quick", "--graph", "/proc/nowhere"),
)
SOURCES = {"partition": ("{npz}", "{folder}/new.fg"), "bench": ("nope",)}
LINES = [
    *WRONG_WORDS,
    *[
        (command, *SOURCES.get(command, ("{graph}",)), *(("{folder}",) if command == "predict" else ()), option, value)
        for command, options in OPTIONS.items()
        for option, values in options.items()
        for value in values
    ],
]


def test_wrong_command_lines_are_said_in_three_lines(tmp_path, capfd, monkeypatch, pytestconfig):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FULLGRAPH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    graph = write_graph(tmp_path / "g.fg", num_parts=2)
    places = {
        "graph": graph,
        "npz": write_npz(tmp_path / "g.npz"),
        "file": tmp_path / "file",
        "folder": tmp_path / "folder",
    }
    assert len(LINES) >= 200
    found = {}
    for line in LINES[:: 1 if pytestconfig.getoption("whole") else 7]:
        words = [word.format(**places) for word in line]
        code, said = _run(words, capfd)
        if code != 2 or not 1 <= len(said.splitlines()) <= 3 or "Traceback" in said:
            found[" ".join(line)] = (code, said[-600:])
        assert Path(graph / "manifest.json").exists()
    assert not found


def _run(words: list[str], capfd: pytest.CaptureFixture[str]) -> tuple[object, str]:
    try:
        main(words)
    except SystemExit as ended:
        return ended.code, capfd.readouterr().err
    except BaseException as error:
        return type(error).__name__, str(error)
    raise AssertionError("main ends in SystemExit")
