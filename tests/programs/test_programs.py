"""The law: every script gives on ranks what it gives as plain PyG, or 1e-9 of it.

CI runs each script on one rank and in one of three settings of several, in turn; ``--whole`` in all; ``python -m
tests.programs.on_ranks`` on every number of ranks in every mode and partition.
"""

import pytest
import torch

from tests.programs.on_ranks import AT_A_TIME, Setting, faults
from tests.programs.running import FOLDER, SCRIPTS

OF_SEVERAL = [
    Setting(3, "sar", "metis"),
    Setting(2, "keep", "random"),
    Setting(3, "halo", "random"),
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "setting" in metafunc.fixturenames:
        shares = shares_of_settings(whole=metafunc.config.getoption("whole"))
        metafunc.parametrize(
            ("scripts", "setting"), shares, ids=lambda of: f"{of[0]}…" if isinstance(of, list) else str(of)
        )


def shares_of_settings(*, whole: bool) -> list[tuple[list[str], Setting]]:
    """Scripts that run one after another, and their setting; neighbours in the alphabet run in different ones."""
    in_turn = [(SCRIPTS if whole else SCRIPTS[n :: len(OF_SEVERAL)], each) for n, each in enumerate(OF_SEVERAL)]
    return [
        (scripts[first : first + AT_A_TIME], setting)
        for scripts, setting in [(SCRIPTS, Setting(1)), *in_turn]
        for first in range(0, len(scripts), AT_A_TIME)
    ]


@pytest.mark.filterwarnings("default")  # scripts are users': what torch warns them of is theirs
def test_scripts_leave_what_plain_pyg_leaves(tmp_path, scripts, setting):
    assert list(faults(scripts, setting, str(tmp_path))) == []


@pytest.mark.filterwarnings("default")
def test_in_float32(tmp_path):
    """Of a bias before batch norm, whose gradient is rounding alone, Adam makes whole steps: no such scripts."""
    scripts = ["gcn", "graphsage", "gat", "l2_penalty", "class_weights", "lbfgs"]
    assert list(faults(scripts, Setting(3, "sar", "metis", torch.float32), str(tmp_path))) == []


def test_scripts_are_in_pygs_own_style():
    """No word of this library but the two lines."""
    assert len(SCRIPTS) >= 80
    for script in SCRIPTS:
        text = (FOLDER / f"{script}.py").read_text()
        assert "fullgraph" not in text, script
        lines = [line for line in text.splitlines() if "fg." in line]
        assert all("fg.open(" in line or "fg.prepare(" in line for line in lines), script
