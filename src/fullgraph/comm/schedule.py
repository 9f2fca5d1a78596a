"""Who sends which rows to whom, and in which order, as data.

Every pair of ranks must post its sends and receives in the same order, and no rank may hold more than a few rounds
of foreign rows. A ring does both: in step k a rank sends to ``rank + k`` and receives from ``rank - k``; a step whose
rows exceed ``round_rows`` is cut into several rounds. With 4 ranks, seen from rank 0:

    step    sends to    receives from
     1         1              3
     2         2              2
     3         3              1

Every step has as many rounds as the longest list of any pair of ranks needs, so round ``i`` is the same (step, chunk)
on all ranks. Walks that also send rows home post in the same order everywhere for that reason, and nothing locks: the
earliest unfinished round always has both sides posted.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Round:
    """One exchange: a run of rows to one rank and a run of rows from another; either may be empty.

    Attributes:
        send_to: the rank that receives this rank's rows.
        send: positions in the list of rows that ``send_to`` needs from this rank.
        receive_from: the rank whose rows arrive.
        receive: positions in the list of rows that this rank needs from ``receive_from``.
    """

    send_to: int
    send: range
    receive_from: int
    receive: range


def ring_schedule(
    rank: int, num_ranks: int, send_counts: Sequence[int], receive_counts: Sequence[int], round_rows: int, longest: int
) -> list[Round]:
    """The rounds of one rank, in order.

    Args:
        rank: this rank.
        num_ranks: how many ranks there are.
        send_counts: rows that each rank needs from this one, ``[num_ranks]``; the own entry is ignored.
        receive_counts: rows that this rank needs from each one, ``[num_ranks]``; the own entry is ignored.
        round_rows: most rows in one direction of one round.
        longest: the largest count of any pair of ranks, the same on all ranks.
    """
    rounds = []
    for step in range(1, num_ranks):
        to, source = (rank + step) % num_ranks, (rank - step) % num_ranks
        for start in range(0, longest, round_rows):
            rounds.append(
                Round(
                    send_to=to,
                    send=_chunk(start, round_rows, send_counts[to]),
                    receive_from=source,
                    receive=_chunk(start, round_rows, receive_counts[source]),
                )
            )
    return rounds


def _chunk(start: int, length: int, stop: int) -> range:
    return range(min(start, stop), min(start + length, stop))
