"""Every message quoted in errors.md is a message of the code."""

import ast
import re

import pytest

import fullgraph as fg
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "errors.md").read_text()
MESSAGES = re.findall(r"`(\w+): ([^`]+)`", PAGE)


def texts_of_the_code() -> list[str]:
    """Every string in the sources, with … for what is filled in."""
    texts = []
    for file in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.JoinedStr):
                texts.append("".join(str(v.value) if isinstance(v, ast.Constant) else "…" for v in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return texts


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return texts_of_the_code()


@pytest.mark.parametrize(("kind", "message"), MESSAGES, ids=[message[:40] for _, message in MESSAGES])
def test_quoted_message_is_the_codes(kind, message, texts):
    assert issubclass(getattr(fg.errors, kind), fg.errors.FullgraphError)
    pattern = ".*".join(re.escape(piece.strip()) for piece in message.split("…"))
    assert any(re.search(pattern, text, re.DOTALL) for text in texts)


def test_there_are_messages():
    assert len(MESSAGES) > 30
