"""Every link inside the repository leads somewhere, headings included."""

import re

import pytest

from tests.docs.pages import PAGES, names, without_code

LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors(text: str) -> set[str]:
    """What a Markdown viewer makes of the headings."""
    headings = re.findall(r"^#+ (.+)$", without_code(text), re.MULTILINE)
    slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
    return slugs | set(re.findall(r"^\((\S+)\)=$", text, re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_links_resolve(page):
    text = page.read_text()
    for target in LINK.findall(without_code(text)):
        if re.match(r"https?:", target):
            continue
        name, _, anchor = target.partition("#")
        linked = (page.parent / name) if name else page
        assert linked.is_file(), f"no such file: {target}"
        if anchor:
            assert anchor in anchors(linked.read_text()), f"no such heading: {target}"


def test_every_page_is_in_the_index():
    docs = [page for page in PAGES if page.parent.name == "docs"]
    index = next(page for page in docs if page.name == "index.md").read_text()
    toctree = re.search(r"```\{toctree\}\n(.*?)```", index, re.DOTALL).group(1).split()
    assert {page.stem for page in docs} - {"index"} == set(toctree) - {":maxdepth:", "1"}
