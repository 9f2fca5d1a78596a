"""Late messages are the same messages, in the same order, and not before their time."""

import time

import pytest

from fullgraph.bench.late import Late


class Done:
    def __init__(self, log: list[str], name: str):
        self._log, self._name = log, name

    def wait(self) -> None:
        self._log.append(f"waited for {self._name}")


def test_batches_are_posted_in_order_and_waited_for_one_by_one():
    log: list[str] = []

    def post(operations: list[str]) -> list[Done]:
        log.extend(operations)
        return [Done(log, name) for name in operations]

    late = Late(post, 0.0)
    first, second = late(["a", "b"]), late(["c"])
    for work in (*second, *first):
        work.wait()
    assert [line for line in log if len(line) == 1] == ["a", "b", "c"]
    assert [line for line in log if len(line) > 1] == ["waited for c", "waited for a", "waited for b"]


def test_nothing_is_posted_before_its_time_and_waiting_is_counted():
    posted: list[float] = []

    def post(operations: list[str]) -> list[Done]:
        posted.append(time.monotonic())
        return []

    late = Late(post, 0.05)
    start = time.monotonic()
    (work,) = late(["a"])
    work.wait()
    assert posted[0] - start >= 0.05
    assert late.waited_seconds > 0


def test_a_lost_connection_is_raised_where_the_message_is_awaited():
    def post(operations: list[str]) -> list[Done]:
        raise RuntimeError("connection closed by peer")

    (work,) = Late(post, 0.0)(["a"])
    with pytest.raises(RuntimeError, match="connection closed by peer"):
        work.wait()
