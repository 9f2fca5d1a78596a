"""The schedule is data: its table is written out here."""

from hypothesis import given
from hypothesis import strategies as st

from fullgraph.comm import Round, ring_schedule


def test_ring_of_three_ranks_seen_from_rank_0():
    rounds = ring_schedule(0, 3, send_counts=[0, 3, 1], receive_counts=[0, 2, 5], round_rows=2, longest=5)
    assert rounds == [
        Round(send_to=1, send=range(0, 2), receive_from=2, receive=range(0, 2)),
        Round(send_to=1, send=range(2, 3), receive_from=2, receive=range(2, 4)),
        Round(send_to=1, send=range(3, 3), receive_from=2, receive=range(4, 5)),
        Round(send_to=2, send=range(0, 1), receive_from=1, receive=range(0, 2)),
        Round(send_to=2, send=range(1, 1), receive_from=1, receive=range(2, 2)),
        Round(send_to=2, send=range(1, 1), receive_from=1, receive=range(2, 2)),
    ]


def test_one_rank_has_no_rounds():
    assert ring_schedule(0, 1, [0], [0], round_rows=4, longest=0) == []


@given(
    st.integers(1, 5).flatmap(
        lambda n: st.tuples(st.lists(st.lists(st.integers(0, 9), min_size=n, max_size=n), min_size=n, max_size=n))
    ),
    st.integers(1, 4),
)
def test_rounds_of_all_ranks_match_and_cover_every_row_once(counts, round_rows):
    (needs,) = counts  # needs[p][q]: rows that q needs from p
    num_ranks = len(needs)
    for rank in range(num_ranks):
        needs[rank][rank] = 0
    longest = max(max(row) for row in needs)
    schedules = [
        ring_schedule(r, num_ranks, needs[r], [needs[p][r] for p in range(num_ranks)], round_rows, longest)
        for r in range(num_ranks)
    ]
    assert len({len(rounds) for rounds in schedules}) == 1
    seen = [[0] * num_ranks for _ in range(num_ranks)]
    for number in range(len(schedules[0])):
        for rank, rounds in enumerate(schedules):
            round_ = rounds[number]
            there = schedules[round_.send_to][number]
            assert (there.receive_from, there.receive) == (rank, round_.send)
            assert len(round_.send) <= round_rows
            assert not round_.send or round_.send.start == seen[rank][round_.send_to]
            seen[rank][round_.send_to] += len(round_.send)
    assert seen == needs
