"""The quickstart, typed from top to bottom as it is printed."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest

from fullgraph.train import read_summary
from tests.docs.pages import FENCE, ROOT


def test_every_line_of_it_works(tmp_path):
    command = tmp_path / "bin" / "fullgraph"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m fullgraph "$@"\n')
    command.chmod(0o755)
    path = os.pathsep.join([str(command.parent), os.path.dirname(sys.executable), os.environ["PATH"]])
    printed = {}
    for language, block in FENCE.findall((ROOT / "docs" / "quickstart.md").read_text()):
        if language == "python":
            name = re.match(r"# (\S+)\n", block).group(1)
            (tmp_path / name).write_text(block)
            continue
        for line in re.findall(r"^\$ (.*)$", block, re.MULTILINE):
            done = subprocess.run(
                ["sh", "-c", line],
                cwd=tmp_path,
                env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"},
                capture_output=True,
                text=True,
                timeout=200,
            )
            assert done.returncode == 0, (line, done.stderr)
            printed[line] = done.stdout
    assert read_summary(tmp_path / "runs" / "digits").test_scores["accuracy"] > 0.9
    assert np.load(tmp_path / "pred.npz")["pred"].shape == (1797,)
    (other,) = (tmp_path / "runs").glob("train-*/rank-1.txt")
    said = [*list(printed.values())[-2:], other.read_text()]
    alone, *both = (re.search(r"^loss (\S+), test accuracy (\S+)$", text, re.MULTILINE).groups() for text in said)
    assert float(alone[1]) > 0.9
    for rank in both:
        assert [float(number) for number in rank] == pytest.approx([float(number) for number in alone], abs=2e-3)
