"""Every Python example of the pages runs, and the README's script gives the same loss alone and under torchrun."""

import os
import re
import subprocess
import sys

import pytest

from tests.docs.pages import PAGES, ROOT, code_blocks, names

WITH_EXAMPLES = [page for page in PAGES if code_blocks(page.read_text(), "python")]


def run_script(folder, *arguments: str, num_ranks: int) -> str:
    """Run a script with one rank, or with torchrun; what it printed."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(num_ranks)]
    command = [sys.executable, *(launcher if num_ranks > 1 else []), *arguments]
    environment = {key: value for key, value in os.environ.items() if key not in ("RANK", "WORLD_SIZE")}
    done = subprocess.run(
        command, cwd=folder, env={**environment, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=120
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
    printed = [run_script(tmp_path, "train.py", num_ranks=num_ranks) for num_ranks in (1, 2)]
    losses = [[float(loss) for loss in re.findall(r"loss (\d+\.\d+), accuracy", text)] for text in printed]
    assert losses[1] == pytest.approx(losses[0] * 2, rel=1e-4)


def test_own_model_is_the_same_alone_and_on_two_ranks(tmp_path):
    script = str(ROOT / "examples" / "own_model.py")
    printed = [run_script(tmp_path, script, num_ranks=num_ranks) for num_ranks in (1, 2)]
    losses = [[float(loss) for loss in re.findall(r"loss (\S+)", text)] for text in printed]
    assert len(losses[0]) == 3
    assert losses[1] == pytest.approx(losses[0], rel=2e-2)
    accuracies = [float(re.search(r"test accuracy (\S+)", text).group(1)) for text in printed]
    assert accuracies[1] == pytest.approx(accuracies[0], abs=0.01)
    assert min(accuracies) > 0.9
    assert "predictions (1797, 10)" in printed[1]
