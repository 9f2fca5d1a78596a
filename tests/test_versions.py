"""A torch that is known to be wrong is refused by name, and the range that pip is told of leaves it out."""

import tomllib
from importlib import metadata

import pytest
import torch
from packaging.requirements import Requirement

from fullgraph.versions import WRONG_SINCE, refuse_known_wrong
from tests.docs.pages import ROOT


@pytest.mark.parametrize("version", ["2.14.0", "2.14.1+cu130", "2.15.0", "3.0"])
def test_a_version_that_is_known_to_be_wrong_is_named(version, monkeypatch):
    monkeypatch.setattr(metadata, "version", {"torch": version}.get)
    with pytest.raises(ImportError, match=rf"type: pip install 'torch==2\.13\.\*'; installed: {version[:4]}"):
        refuse_known_wrong()


@pytest.mark.parametrize("version", ["2.13.0", "2.13.1+cpu"])
def test_others_pass(version, monkeypatch):
    monkeypatch.setattr(metadata, "version", {"torch": version}.get)
    refuse_known_wrong()


def test_pip_is_told_the_same():
    lines = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (needed,) = [need for need in map(Requirement, lines) if need.name == "torch"]
    assert torch.__version__ in needed.specifier
    assert "{}.{}".format(*WRONG_SINCE) not in needed.specifier
