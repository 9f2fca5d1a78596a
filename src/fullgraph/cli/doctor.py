"""``fullgraph doctor``: what decides the speed on this machine, and what to change where it is slow."""

from dataclasses import asdict

from rich.table import Table

from fullgraph.cli.manners import with_output
from fullgraph.cli.output import Output
from fullgraph.doctor import examine
from fullgraph.stages import stage

EXAMPLE = "Example: fullgraph doctor"


@with_output
def doctor(*, told: Output) -> None:
    """Show what decides the speed on this machine, measure for a few seconds, say what is slow and why."""
    with stage("looking at this machine"):
        found = list(examine())
    table = Table("what", "here", "advice")
    for finding in found:
        table.add_row(finding.what, finding.found, finding.advice)
    told.result(table, {"findings": [asdict(finding) for finding in found]})
