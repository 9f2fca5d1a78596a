"""The page of a report, word for word, apart from date, machine and commit."""

from fullgraph.bench.machine import commit
from fullgraph.bench.report import Report, Table, verdict


def test_the_page_holds_everything_in_order():
    table = Table(title="Sizes", columns=("name", "bytes"), rows=[("a", "1"), ("b", "2")])
    verdicts = (verdict(True, "a is small"), verdict(False, "b is small"))
    report = Report(title="Of sizes", about="What was done.\n", verdicts=verdicts, tables=(table,))
    head, _, rest = report.to_markdown("fullgraph bench sizes").partition("- Command: ")
    assert head.startswith("# Of sizes\n\n- Date: ")
    assert rest == (
        "`fullgraph bench sizes`\n\nWhat was done.\n\n- pass: a is small\n- FAIL: b is small\n\n"
        "## Sizes\n\n| name | bytes |\n| --- | --- |\n| a | 1 |\n| b | 2 |\n"
    )


def test_sources_without_a_repository_have_a_version(monkeypatch, tmp_path):
    monkeypatch.setattr("fullgraph.bench.machine._SOURCE", tmp_path)
    assert commit().startswith("no repository; installed version ")
