"""A user's own script on several ranks: rank 0 speaks, and the others' words are in files."""

import pytest

from tests.cli.test_commands import _run

SCRIPT = """
import os, sys
print("rank", os.environ["RANK"], "of", os.environ["WORLD_SIZE"], *sys.argv[1:])
print("error of", os.environ["RANK"], file=sys.stderr)
"""


@pytest.fixture
def script(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "hello.py"
    path.write_text(SCRIPT)
    return path


def test_rank_0_speaks_and_the_others_write(script, tmp_path, capfd):
    assert _run("run", "--num-ranks", 3, "--output", "said", script, "--lr", 1) == 0
    out = capfd.readouterr()
    assert (out.out, out.err) == ("rank 0 of 3 --lr 1\n", "error of 0\n")
    assert {each.name: sorted(each.read_text().splitlines()) for each in (tmp_path / "said").iterdir()} == {
        f"rank-{rank}.txt": [f"error of {rank}", f"rank {rank} of 3 --lr 1"] for rank in (1, 2)
    }


def test_the_folder_is_named_after_the_script(script, tmp_path):
    assert _run("run", "--num-ranks", 2, script) == 0
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("hello-")


def test_one_rank_needs_no_folder(script, tmp_path, capfd):
    assert _run("run", script) == 0
    assert capfd.readouterr().out == "rank 0 of 1\n"
    assert not (tmp_path / "runs").exists()


def test_a_folder_that_cannot_be_made_is_refused(script, tmp_path, capfd):
    assert _run("run", "--num-ranks", 2, "--output", script, script) == 2
    assert capfd.readouterr().err.startswith("InputError: --output must be a folder that can be written")


def test_the_error_of_another_rank_is_said(script, capfd):
    script.write_text("import os\nif os.environ['RANK'] == '1': raise ValueError('only here')\n")
    assert _run("run", "--num-ranks", 2, script) == 1
    assert "ValueError: only here" in capfd.readouterr().err
