"""How often ranks speak in a step beside sending rows: once per reduction over rows, and once for all parameters.

Each small collective takes as long as the network needs to answer. Here they are listed in the order of a step: a new
one, wherever it comes from, must be written down.
"""

from unittest import mock

import torch
import torch.nn.functional as F
from torch_geometric.nn import models

import fullgraph as fg
from tests.equivalence.graphs import NUM_CLASSES, NUM_FEATURES, awkward_graph
from tests.ranks import run_ranks

HIDDEN = 12
NORM = [("all_reduce", HIDDEN + 1), ("all_reduce", HIDDEN)]  # sums of columns and their number; squares about the means


def build() -> models.GraphSAGE:
    return models.GraphSAGE(NUM_FEATURES, HIDDEN, 3, NUM_CLASSES, norm="batch_norm").double()


def collectives_of_steps(world: fg.World, path: str) -> list[list[tuple[str, int]]]:
    """Per step: the kind and the number of entries of each collective."""
    data = fg.open(path, world)
    torch.manual_seed(0)
    model = fg.prepare(build(), data)
    optimizer = torch.optim.Adam(model.parameters())
    seen: list[tuple[str, int]] = []

    def noted(name: str):
        original = getattr(fg.World, name)

        def collective(self: fg.World, tensor: torch.Tensor) -> torch.Tensor:
            seen.append((name, tensor.numel()))
            return original(self, tensor)

        return mock.patch.object(fg.World, name, collective)

    steps = []
    with noted("all_reduce"), noted("all_max"):
        for _ in range(3):
            seen.clear()
            optimizer.zero_grad()
            out = model(data.x, data.edge_index)
            F.cross_entropy(out[data.train_mask], data.y[data.train_mask]).backward()
            optimizer.step()
            steps.append(list(seen))
    return steps


def test_collectives_of_a_step_are_these(tmp_path):
    fg.partition(awkward_graph(), tmp_path / "graph.fg", num_parts=2)
    expected = [
        ("all_reduce", 2),  # whether the first layer's sum of x is remembered: on all ranks or none
        *NORM,
        *NORM,
        ("all_reduce", 2),  # the loss: its sum, and how many rows count
        ("all_reduce", 2 * HIDDEN),  # backward of the second batch norm
        ("all_reduce", 2 * HIDDEN),  # and of the first
        ("all_reduce", sum(p.numel() for p in build().parameters())),  # gradients of all parameters
    ]
    for steps in run_ranks(2, collectives_of_steps, str(tmp_path / "graph.fg")):
        assert steps[1:] == [expected, expected]
