"""The API page has every public name, and the pages name nothing that is not there."""

import re
from importlib import import_module

import pytest

import fullgraph as fg
from tests.docs.pages import PAGES, ROOT, names


def test_the_api_page_has_every_public_name():
    page = (ROOT / "docs" / "api.md").read_text()
    documented = set(re.findall(r"^\.\. auto\w+:: fullgraph\.(\w+)", page, re.MULTILINE))
    assert documented == set(fg.__all__)


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_names_of_the_package_exist(page):
    for dotted in re.findall(r"(?<![\w.])(?:fg|fullgraph)((?:\.\w+)+)", page.read_text()):
        first, *rest = dotted[1:].split(".")
        if first in ("errors", "datasets"):
            module = import_module(f"fullgraph.{first}")
            assert not rest or hasattr(module, rest[0]), dotted
        else:
            assert hasattr(fg, first), dotted
