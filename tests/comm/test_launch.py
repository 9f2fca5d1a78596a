import os
import signal
import threading
import time
from pathlib import Path

import pytest
import torch

from fullgraph.comm.launch import RankFailed, launch
from fullgraph.errors import InputError, PeerLost

pytestmark = pytest.mark.timeout(60)


def _place(text: str) -> tuple[str, str, str, int]:
    return text, os.environ["RANK"], os.environ["WORLD_SIZE"], torch.get_num_threads()


def _raise_on_rank_1(error: Exception) -> None:
    if os.environ["RANK"] == "1":
        raise error
    time.sleep(50)


def _kill_rank_2(by: signal.Signals) -> None:
    if os.environ["RANK"] == "2":
        os.kill(os.getpid(), by)
    time.sleep(0.3)
    raise PeerLost("rank lost its connection")


def _sleep(started: Path) -> None:
    (started / os.environ["RANK"]).write_text(str(os.getpid()))
    time.sleep(50)


def test_ranks_return_their_results_in_rank_order_and_share_the_cores(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    threads = max(1, (os.cpu_count() or 1) // 3)
    assert launch(_place, "hello", num_ranks=3) == [("hello", str(rank), "3", threads) for rank in range(3)]
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert launch(_place, "", num_ranks=2) == [("", "0", "2", 2), ("", "1", "2", 2)]


def test_a_users_mistake_comes_back_as_itself():
    with pytest.raises(InputError) as caught:
        launch(_raise_on_rank_1, InputError("two lines\nof text: 3"), num_ranks=2)
    assert str(caught.value) == "two lines\nof text: 3"


def test_a_bug_comes_back_with_its_rank_and_traceback():
    with pytest.raises(RankFailed, match=r"(?s)^rank 1 raised KeyError: 'nope'\nTraceback .*_raise_on_rank_1"):
        launch(_raise_on_rank_1, KeyError("nope"), num_ranks=2)


@pytest.mark.parametrize(
    ("by", "hint"),
    [
        (signal.SIGKILL, "; the machine may be out of memory"),
        (signal.SIGABRT, "; as gloo does where one rank calls what another does not"),
        (signal.SIGUSR1, ""),
    ],
)
def test_the_killed_rank_is_named_and_not_those_who_noticed(by, hint):
    with pytest.raises(PeerLost) as caught:
        launch(_kill_rank_2, by, num_ranks=4)
    assert str(caught.value) == (f"rank 2 was killed by {by.name}{hint}; all other ranks were stopped")


@pytest.mark.parametrize(
    ("told", "raised"), [(signal.SIGINT, KeyboardInterrupt()), (signal.SIGTERM, SystemExit(143))], ids=["int", "term"]
)
def test_a_signal_to_the_launcher_stops_all_ranks(tmp_path, told, raised):
    ended = threading.Event()

    def tell() -> None:
        while len(list(tmp_path.iterdir())) < 2 or not all(each.read_text() for each in tmp_path.iterdir()):
            if ended.wait(0.05):
                return
        os.kill(os.getpid(), told)

    telling = threading.Thread(target=tell)
    telling.start()
    try:
        with pytest.raises(type(raised)) as stopped:
            launch(_sleep, tmp_path, num_ranks=2)
    finally:
        ended.set()
        telling.join()
    assert stopped.value.args == raised.args
    assert len(list(tmp_path.iterdir())) == 2
    for each in tmp_path.iterdir():
        with pytest.raises(ProcessLookupError):
            os.kill(int(each.read_text()), 0)
