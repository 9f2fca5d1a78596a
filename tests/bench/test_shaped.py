"""Links that cannot be shaped are refused with what is needed; those that were made are gone afterwards."""

import os
import subprocess

import pytest

from fullgraph.bench.shaped import network
from fullgraph.errors import InputError


def make_links() -> None:
    with network(2, "1gbit"):
        raise AssertionError("links that cannot be made were made")


def test_a_machine_without_the_commands_is_told_which(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"need Linux with iproute2 installed; there is no command: ip$"):
        make_links()


def test_what_is_not_permitted_is_said_in_the_kernels_words(monkeypatch, tmp_path):
    for command in ("ip", "tc"):
        script = tmp_path / command
        script.write_text("#!/bin/sh\necho 'RTNETLINK answers: Operation not permitted' >&2\nexit 2\n")
        script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(
        InputError, match=r"need root .*`ip link add .* type bridge` said: RTNETLINK answers: Operation"
    ):
        make_links()


def made_here() -> str:
    """What namespaces and links this machine has."""
    return "".join(
        subprocess.run(["ip", *words], capture_output=True, text=True, check=True).stdout
        for words in (["netns", "list"], ["-brief", "link"])
    )


def test_every_rank_has_a_shaped_link_which_is_gone_in_the_end():
    try:
        with network(2, "1gbit") as links:
            for rank in range(2):
                words = ["tc", "-n", f"{links.name}-{rank}", "qdisc", "show", "dev", "shaped0"]
                shown = subprocess.run(words, capture_output=True, text=True, check=True).stdout
                assert "tbf" in shown
                assert "rate 1Gbit" in shown
            assert links.name in made_here()
    except InputError as error:  # without the rights for it, that is what must be said
        if not str(error).startswith(("shaped links need root", "shaped links need Linux")):
            raise
        return
    assert links.name not in made_here()
