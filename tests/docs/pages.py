"""What the tests of the pages share: where pages are, and the pieces of Markdown that make a claim."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def names(pages: list[Path]) -> list[str]:
    """Pages as test ids."""
    return [page.name for page in pages]


def code_blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of one language, in order."""
    return [body for info, body in FENCE.findall(text) if info == language]


def without_code(text: str) -> str:
    """The page's own text: fenced blocks and comments left out."""
    return re.sub(r"<!--.*?-->", "", FENCE.sub("", text), flags=re.DOTALL)


def section(text: str, heading: str) -> str:
    """The lines below a heading, up to the next heading of any level.

    Raises:
        ValueError: if there is no such heading.
    """
    lines = text.splitlines()
    start = next((i for i, line in enumerate(lines) if re.fullmatch(rf"#+ {re.escape(heading)}", line)), None)
    if start is None:
        raise ValueError(f"no such heading: {heading}")
    stop = next((i for i in range(start + 1, len(lines)) if lines[i].startswith("#")), len(lines))
    return "\n".join(lines[start + 1 : stop])


def table_rows(text: str) -> list[list[str]]:
    """The cells of all Markdown tables in a text, heads and rulers left out."""
    rows: list[list[str]] = []
    for line in text.splitlines():
        if re.fullmatch(r"\|( -+:? \|)+", line):
            rows = rows[:-1]
        elif line.startswith("|"):
            rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return rows
