"""The graphs of all cases on disk, partitioned once."""

import pytest

import fullgraph as fg
from tests.equivalence.cases import GRAPHS


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where each lies under its name, in four parts."""
    folder = tmp_path_factory.mktemp("graphs")
    for name, make in GRAPHS.items():
        fg.partition(make(), folder / f"{name}.fg", num_parts=4)
    return str(folder)
