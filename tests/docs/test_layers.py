"""The tables of layers in your-model.md are those of the code."""

import re

import torch
import torch_geometric.nn as pyg
from fullgraph.pyg.refused import _REASONS
from torch_geometric.nn import conv

from fullgraph.pyg.rules import RULES
from tests.docs.pages import ROOT, section, table_rows

PAGE = (ROOT / "docs" / "your-model.md").read_text()
README = (ROOT / "README.md").read_text()
# Rules for something else than a walk.
NOT_WALKING = {"FastRGCNConv", "SuperGATConv", "MeshCNNConv", "HypergraphConv"}
# Refused by how they are configured, not by their class alone.
BY_CONFIGURATION = {"ChebConv", "MultiheadAttention", "LSTM", "GRU", "MetaLayer"}
# Named as what works instead.
INSTEAD = {"InstanceNorm"}


def classes_named(cells: list[str]) -> set[str]:
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


def test_the_layers_that_become_others_are_the_rules():
    first_cells = [row[0] for row in table_rows(section(PAGE, "Which layers walk"))]
    assert classes_named(first_cells) == {rule.__name__ for rule in RULES}


def test_the_readme_counts_the_layers_that_walk():
    named, more = re.search(r"walk \((.*?) and\s+(\d+)\s+more classes\)", README, re.DOTALL).groups()
    walking = {rule.__name__ for rule in RULES if issubclass(rule, pyg.MessagePassing)} - NOT_WALKING
    assert set(re.findall(r"`(\w+)`", named)) < walking
    assert len(re.findall(r"`(\w+)`", named)) + int(more) == len(walking)


def test_the_refused_layers_are_those_of_the_code():
    first_cells = [row[0] for row in table_rows(section(PAGE, "What is refused"))]
    assert classes_named(first_cells) - INSTEAD == {refused.__name__ for refused in _REASONS} | BY_CONFIGURATION


def test_every_name_of_a_layer_exists():
    for name in re.findall(r"`(\w+(?:Conv|Norm|Norm1d|Aggregation))`", PAGE):
        assert hasattr(pyg, name) or hasattr(conv, name) or hasattr(torch.nn, name) or hasattr(pyg.aggr, name), name
