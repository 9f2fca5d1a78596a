"""What a benchmark leaves behind: a dated page of tables with the machine and the commit they were measured on.

A number without these cannot be compared with anything, so no case writes a table by itself.
"""

import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fullgraph.bench.machine import commit, hardware, versions


@dataclass(kw_only=True)
class Table:
    """One table, which grows by a row whenever something was measured.

    Attributes:
        title: what it shows, one line.
        columns: their headings, with units; those of the first row.
        rows: cells as they are printed, one per column.
        tell: told a line for each row that is added.
    """

    title: str
    columns: tuple[str, ...] = ()
    rows: list[tuple[str, ...]] = field(default_factory=list)
    tell: Callable[[str], None] = lambda line: None

    def add(self, row: Mapping[str, object] | Iterable[tuple[str, object]]) -> None:
        """A new last row, of cells with their headings."""
        headings, cells = zip(*(row.items() if isinstance(row, Mapping) else row), strict=True)
        self.columns = self.columns or headings
        assert headings == self.columns, "all rows have the same headings"
        self.rows.append(tuple(map(str, cells)))
        self.tell(", ".join(f"{heading} {cell}" for heading, cell in zip(headings, self.rows[-1], strict=True)))

    def to_markdown(self) -> str:
        """The table as GitHub renders it, its title in front."""
        lines = [self.columns, tuple("---" for _ in self.columns), *self.rows]
        return f"## {self.title}\n\n" + "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


@dataclass(kw_only=True)
class Report:
    """What a case found out.

    Attributes:
        title: one line.
        about: what was measured and how, in Markdown.
        verdicts: what had to be shown, each with the measured numbers and whether it was.
        tables: the numbers.
    """

    title: str
    about: str = ""
    verdicts: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)

    def to_markdown(self, command: str) -> str:
        """The page that is kept with the code.

        Args:
            command: what repeats the measurement.
        """
        facts = (
            f"- Date: {datetime.datetime.now(datetime.UTC).date()}",
            f"- Machine: {hardware()}",
            f"- Software: {versions()}",
            f"- Commit: {commit()}",
            f"- Command: `{command}`",
        )
        blocks = [f"# {self.title}\n", "\n".join(facts) + "\n", self.about]
        if self.verdicts:
            blocks.append("".join(f"- {text}\n" for text in self.verdicts))
        return "\n".join([*blocks, *(table.to_markdown() for table in self.tables)])


def verdict(is_met: bool, claim: str) -> str:
    """A claim with its outcome in front: ``pass: …`` or ``FAIL: …``."""
    return f"{'pass' if is_met else 'FAIL'}: {claim}"


def mib(num_bytes: float) -> str:
    """Bytes as a cell in MiB."""
    return f"{num_bytes / 2**20:,.1f}"


def largest_difference(pairs: Iterable[tuple[Sequence[float], Sequence[float]]]) -> float:
    """Of losses, relative to the second of each pair; infinite where one run has more of them."""
    return max(
        abs(loss - wanted) / abs(wanted) if len(losses) == len(expected) else float("inf")
        for losses, expected in pairs
        for loss, wanted in zip(losses, expected, strict=False)
    )


def write_report(report: Report, path: Path, command: str) -> None:
    """Write the page, in place of the one before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(report.to_markdown(command), encoding="utf-8")
