"""A user's own script on several ranks: rank 0 speaks, and the others' words are in files."""

import subprocess
import sys

import pytest

SCRIPT = """
import os, sys
print("rank", os.environ["RANK"], "of", os.environ["WORLD_SIZE"], *sys.argv[1:])
print("error of", os.environ["RANK"], file=sys.stderr)
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "hello.py"
    path.write_text(SCRIPT)
    return path


def run(folder, *words):
    """In a process of its own: ranks of this one would speak where its first ranks did."""
    command = [sys.executable, "-m", "fullgraph", "run", *map(str, words)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100)


def test_rank_0_speaks_and_the_others_write(script, tmp_path):
    done = run(tmp_path, "--num-ranks", 3, "--output", "said", script, "--lr", 1)
    assert (done.returncode, done.stdout, done.stderr) == (0, "rank 0 of 3 --lr 1\n", "error of 0\n")
    assert {each.name: sorted(each.read_text().splitlines()) for each in (tmp_path / "said").iterdir()} == {
        f"rank-{rank}.txt": [f"error of {rank}", f"rank {rank} of 3 --lr 1"] for rank in (1, 2)
    }


def test_one_rank_needs_no_folder(script, tmp_path):
    assert run(tmp_path, script).stdout == "rank 0 of 1\n"
    assert not (tmp_path / "runs").exists()


def test_a_folder_that_cannot_be_made_is_refused(script, tmp_path):
    done = run(tmp_path, "--num-ranks", 2, "--output", script, script)
    assert done.returncode == 2
    assert done.stderr.startswith("InputError: --output must be a folder that can be written")


def test_the_error_of_another_rank_is_said_and_the_folder_named_after_the_script(script, tmp_path):
    script.write_text("import os\nif os.environ['RANK'] == '1': raise ValueError('only here')\n")
    done = run(tmp_path, "--num-ranks", 2, script)
    assert done.returncode == 1
    assert "ValueError: only here" in done.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("hello-")
