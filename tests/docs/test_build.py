"""The pages build with Sphinx, with warnings as errors, API reference included."""

import subprocess
import sys

from tests.docs.pages import ROOT


def test_the_pages_build_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", str(ROOT / "docs"), str(tmp_path)]
    built = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert built.returncode == 0, built.stderr
    assert 'id="fullgraph.prepare"' in (tmp_path / "api.html").read_text()
