"""The README's memory table is the measured one: no figure in it is typed by hand."""

import re

from tests.docs.pages import ROOT, table_rows

MEASURED = ROOT / "benchmarks" / "results" / "memory.md"
BEGIN, END = "<!-- memory: from benchmarks/results/memory.md -->\n", "<!-- memory: end -->\n"


def memory_block(measured: str) -> str:
    """The README's paragraph and table, out of the page that ``fullgraph bench memory`` writes."""
    date = re.search(r"^- Date: (\S+)", measured, re.MULTILINE).group(1)
    nodes, edges = re.search(r"([\d,]+)\s+nodes,\s+([\d,]+)\s+edges", measured).groups()
    layers, hidden = re.search(r"(\d+)\s+layers,\s+hidden\s+width\s+(\d+)", measured).groups()
    peaks = {(row[0], int(row[1])): row[3] for row in table_rows(measured) if row[0] in ("sar", "keep", "halo")}
    ranks = sorted({count for _, count in peaks})
    lines = [
        f"Peak memory growth of the largest rank in MiB, while PyG's `GraphSAGE` ({layers} layers, width {hidden},",
        f"batch norm) trains on a graph of {nodes} nodes and {edges} edges ({date}; hardware, commit and times are in",
        "[the whole table](benchmarks/results/memory.md)):",
        "",
        "| ranks | mode `sar` | mode `keep` | mode `halo` |",
        "| --- | --- | --- | --- |",
        *(f"| {n} | {peaks['sar', n]} | {peaks['keep', n]} | {peaks['halo', n]} |" for n in ranks),
    ]
    return "\n".join(lines) + "\n"


def test_the_readme_shows_what_was_measured():
    readme = (ROOT / "README.md").read_text()
    shown = readme[readme.index(BEGIN) + len(BEGIN) : readme.index(END)]
    expected = memory_block(MEASURED.read_text()) if MEASURED.is_file() else ""
    assert shown == expected, f"between the comments the README must have:\n{expected}"
