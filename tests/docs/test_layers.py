"""What the pages say of layers is so."""

import re

import torch
import torch_geometric.nn as pyg
from torch_geometric.nn import conv

from fullgraph.pyg.rules import RULES, Way, aggregating, attention
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "your-model.md").read_text()
README = (ROOT / "README.md").read_text()


def test_the_readme_counts_the_layers_that_walk():
    named, more = re.search(r"walk \((.*?) and\s+(\d+)\s+more classes\)", README, re.DOTALL).groups()
    families = (aggregating.Aggregating, attention.Attending)
    walking = {layer.__name__ for layer, rule in RULES.items() if issubclass(rule, families)}
    assert set(re.findall(r"`(\w+)`", named)) < walking
    assert len(re.findall(r"`(\w+)`", named)) + int(more) == len(walking)


def test_every_name_of_a_layer_exists():
    for name in re.findall(r"`(\w+(?:Conv|Norm|Norm1d|Aggregation))`", PAGE):
        assert hasattr(pyg, name) or hasattr(conv, name) or hasattr(torch.nn, name) or hasattr(pyg.aggr, name), name


def test_the_page_of_layers_names_the_ways():
    page = (ROOT / "docs" / "layers.md").read_text()
    assert all(f"| {way.value}: " in page for way in Way)
