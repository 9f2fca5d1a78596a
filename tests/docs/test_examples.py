"""Every Python example of the pages runs, and the README's script gives the same loss alone and under torchrun."""

import os
import re
import runpy
import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from fullgraph.comm.launch import launch
from tests.docs.pages import PAGES, ROOT, code_blocks, names

WITH_EXAMPLES = [page for page in PAGES if code_blocks(page.read_text(), "python") and page.stem != "quickstart"]


def printed_on_a_rank(script: Path, folder: Path) -> str:
    """What a script prints that runs in ``folder``."""
    os.chdir(folder)
    sys.argv = [str(script)]
    with redirect_stdout(StringIO()) as printed:
        runpy.run_path(str(script), run_name="__main__")
    return printed.getvalue()


def printed_under_torchrun(script: Path) -> str:
    """What two ranks print."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {key: value for key, value in os.environ.items() if key not in ("RANK", "WORLD_SIZE")}
    done = subprocess.run(
        [*torchrun, script], env={**environment, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("page", WITH_EXAMPLES, ids=names(WITH_EXAMPLES))
def test_examples_of_a_page_run_in_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": page.stem}
    for number, block in enumerate(code_blocks(page.read_text(), "python"), start=1):
        exec(compile(block, f"{page.name}, example {number}", "exec"), namespace)


def test_the_script_of_the_readme_gives_the_same_loss_on_two_ranks(tmp_path):
    (script,) = code_blocks((ROOT / "README.md").read_text(), "python")
    assert script.startswith("# train.py\n")
    (tmp_path / "train.py").write_text(script)
    (alone,) = launch(printed_on_a_rank, tmp_path / "train.py", tmp_path, num_ranks=1)
    printed = [alone, printed_under_torchrun(tmp_path / "train.py")]
    losses = [[float(loss) for loss in re.findall(r"loss (\d+\.\d+), accuracy", text)] for text in printed]
    assert losses[1] == pytest.approx(losses[0] * 2, rel=1e-4)


def test_own_model_is_the_same_alone_and_on_two_ranks(tmp_path):
    script = ROOT / "examples" / "own_model.py"
    printed = ["".join(launch(printed_on_a_rank, script, tmp_path, num_ranks=num_ranks)) for num_ranks in (1, 2)]
    losses = [[float(loss) for loss in re.findall(r"loss (\S+)", text)] for text in printed]
    assert len(losses[0]) == 3
    assert losses[1] == pytest.approx(losses[0], rel=2e-2)
    accuracies = [float(re.search(r"test accuracy (\S+)", text).group(1)) for text in printed]
    assert accuracies[1] == pytest.approx(accuracies[0], abs=0.01)
    assert min(accuracies) > 0.9
    assert "predictions (1797, 10)" in printed[1]
