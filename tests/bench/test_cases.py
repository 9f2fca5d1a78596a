"""Every case runs on a tiny graph, and its page has the columns that the kept pages have; numbers are not judged."""

import re
from functools import cache

import pytest

from fullgraph.bench import CASES, ROOT_ONLY, Report, Request
from fullgraph.cli import main
from fullgraph.errors import InputError
from tests.docs.pages import ROOT

pytestmark = pytest.mark.timeout(120)
NUM_ROWS = {
    "accuracy": 2,
    "accuracy-bf16": 1,
    "attention": 6,
    "general": 4,
    "gpu": 57,
    "kernels": 6,
    "link": 6,
    "memory": 6,
    "precision": 6,
    "products": 12,
    "pruning": 4,
    "relational": 2,
    "scaling": 3,
    "streaming": 2,
    "train": 15,
    "wire": 9,
}


KEPT = ROOT / "benchmarks" / "results"
Measured = tuple[str, Report, list[str]]


GRAPHS = {"memory": {"graph": "digits", "label": "the digits"}}
"""Of the cases that are measured on another graph than their own."""


@cache
def measure(name: str) -> Measured:
    told: list[str] = []
    return name, CASES[name](Request(quick=True, tell=told.append, **GRAPHS.get(name, {}))), told


@pytest.fixture(scope="module", params=sorted(CASES.keys() - ROOT_ONLY))
def measured(request) -> Measured:
    return measure(request.param)


def test_a_case_has_its_columns_and_a_line_told_for_each_row(measured):
    assert_complete(measured)


def head(columns: tuple[str, ...]) -> str:
    return f"| {' | '.join(columns)} |"


def kept_heads(name: str) -> list[str]:
    """The first lines of the tables of the page that is kept, each once, in order."""
    page = (KEPT / f"{name}.md").read_text(encoding="utf-8")
    return list(dict.fromkeys(re.findall(r"^(\|.*\|)\n\| ---", page, re.MULTILINE)))


def assert_complete(measured: Measured) -> None:
    name, report, told = measured
    assert list(dict.fromkeys(head(table.columns) for table in report.tables)) == kept_heads(name)
    assert sum(len(table.rows) for table in report.tables) == len(told) == NUM_ROWS[name]


def test_what_must_hold_on_any_graph_holds(measured):
    assert_holds(measured)


def assert_holds(measured: Measured) -> None:
    _, report, _ = measured
    assert [text for text in report.verdicts if not text.startswith("pass: ")] == []


@pytest.mark.parametrize("name", sorted(ROOT_ONLY))
def test_a_case_that_needs_more_rights_measures_or_says_what_it_needs(name):
    try:
        measured = measure(name)
    except InputError as error:
        if not str(error).startswith(("shaped links need root", "shaped links need Linux")):
            raise
        return
    assert_complete(measured)
    assert_holds(measured)


def test_memory_has_every_mode_on_every_number_of_ranks_at_the_same_loss():
    _, report, _ = measure("memory")
    (table,) = report.tables
    assert [row[:2] for row in table.rows] == [(m, r) for m in ("sar", "keep", "halo") for r in ("1", "2")]
    losses = [float(row[-1]) for row in table.rows]
    assert losses == pytest.approx(losses[:1] * len(losses), rel=1e-4)
    assert "the digits, 1,797 nodes" in report.about


def test_the_command_writes_a_dated_page_without_the_folders_of_the_machine(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with pytest.raises(SystemExit) as ended:
        main(["bench", "kernels", "--quick", "--graph", "digits", "--label", "the digits", "--out", str(tmp_path)])
    assert not ended.value.code
    page = (tmp_path / "kernels-quick.md").read_text(encoding="utf-8")
    for fact in (
        r"Date: \d{4}-\d\d-\d\d",
        r"Machine: .+ cores, \d+ GiB of memory, ",
        "Software: Python .+, torch ",
        "Commit: ",
    ):
        assert re.search(f"^- {fact}", page, re.MULTILINE)
    assert (
        '- Command: `OMP_NUM_THREADS=1 fullgraph bench kernels --quick --graph digits --label "the digits"`\n' in page
    )
    assert all(f"{each}\n" in page for each in kept_heads("kernels"))
    assert str(tmp_path) not in page
    assert "wrote" in capsys.readouterr().out


def test_an_unknown_case_is_refused_before_anything_runs(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["bench", "kernels", "speed", "--out", str(tmp_path)])
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "InputError: there is no benchmark of this name; give some of accuracy, accuracy-bf16, attention, general, "
        "gpu, kernels, link, memory, precision, products, pruning, relational, scaling, streaming, train, wire: speed\n"
    )
    assert list(tmp_path.iterdir()) == []
