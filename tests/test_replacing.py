import pytest

from fullgraph.replacing import replace_text, replacing


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "summary.json"
    replace_text(path, "old")
    with pytest.raises(TypeError), replacing(path) as file:
        file.writelines([b"half of the ne", "w"])  # pyright: ignore[reportArgumentType]
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["summary.json"]
    replace_text(path, "new")
    assert path.read_text() == "new"
