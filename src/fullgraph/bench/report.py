"""What a benchmark leaves behind: a dated page of tables with the machine and the commit they were measured on.

A number without these cannot be compared with anything, so no case writes a table by itself.
"""

from dataclasses import dataclass
from pathlib import Path

from fullgraph.bench.machine import commit, hardware, today, versions


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table.

    Attributes:
        title: what it shows, one line.
        columns: their headings, with units.
        rows: cells as they are printed, one per column.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.columns) for row in self.rows)

    def to_markdown(self) -> str:
        """The table as GitHub renders it, its title in front."""
        lines = [self.columns, tuple("---" for _ in self.columns), *self.rows]
        return f"## {self.title}\n\n" + "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a case found out.

    Attributes:
        title: one line.
        about: what was measured and how, in Markdown.
        verdicts: what had to be shown, each with the measured numbers and whether it was.
        tables: the numbers.
    """

    title: str
    about: str
    verdicts: tuple[str, ...]
    tables: tuple[Table, ...]

    def to_markdown(self, command: str) -> str:
        """The page that is kept with the code.

        Args:
            command: what repeats the measurement.
        """
        facts = (
            f"- Date: {today()}",
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


def write_report(report: Report, path: Path, command: str) -> None:
    """Write the page, in place of the one before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(report.to_markdown(command), encoding="utf-8")
