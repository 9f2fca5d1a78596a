"""``fullgraph doctor``: what decides the speed on this machine, and what to change where it is slow."""

from rich.console import Console
from rich.table import Table

from fullgraph.doctor import examine

EXAMPLE = "Example: fullgraph doctor"


def doctor() -> None:
    """Show what decides the speed on this machine, measure for a few seconds, say what is slow and why."""
    table = Table("what", "here", "advice")
    for finding in examine():
        table.add_row(finding.what, finding.found, finding.advice)
    Console().print(table)
