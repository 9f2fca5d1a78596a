"""The law: every script gives on ranks what it gives as plain PyG, or 1e-9 of it.

CI runs each script in a few settings; ``python -m tests.programs.on_ranks`` runs all.
"""

import pytest
import torch

from tests.programs.on_ranks import AT_A_TIME, Setting, faults
from tests.programs.running import FOLDER, SCRIPTS

SETTINGS = [
    Setting(1),
    Setting(3, "sar", "metis"),
    Setting(2, "keep", "random"),
    Setting(3, "halo", "random"),
]
SHARES = [SCRIPTS[first : first + AT_A_TIME] for first in range(0, len(SCRIPTS), AT_A_TIME)]


@pytest.mark.filterwarnings("default")  # scripts are users': what torch warns them of is theirs
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
@pytest.mark.parametrize("scripts", SHARES, ids=lambda scripts: f"{scripts[0]}…")
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
