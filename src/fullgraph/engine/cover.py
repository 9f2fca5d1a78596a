"""The fewest rows that can carry a sum from one rank to another.

An edge from a row of rank p to a row of rank q is carried either by its source's row, which q adds wherever it is
needed, or by a partial sum of its destination, which p forms from all of its sources there. So the rows that travel are
a vertex cover of the bipartite graph of these edges, and the smallest is as large as the largest matching (Kőnig 1931).
To send every source with an edge into q, as SAR does (Mostafa 2022, §3), is one cover; where destinations have many
sources it is far from the smallest.
"""

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import breadth_first_order, maximum_bipartite_matching


def minimum_cover(src: np.ndarray, dst: np.ndarray, num_src: int, num_dst: int) -> tuple[np.ndarray, np.ndarray]:
    """A smallest set of sources and destinations with an end of every edge; of these the one with most sources.

    Args:
        src: int ``[num_edges]``, below ``num_src``; an edge may come more than once.
        dst: int ``[num_edges]``, below ``num_dst``.
        num_src: how many sources there are.
        num_dst: how many destinations there are.

    Returns:
        bool ``[num_src]`` and ``[num_dst]``: which are in the cover.
    """
    if len(src) == 0:
        return np.zeros(num_src, bool), np.zeros(num_dst, bool)
    edges = coo_matrix((np.ones(len(src), bool), (src, dst)), shape=(num_src, num_dst)).tocsr()
    partner = maximum_bipartite_matching(edges, perm_type="row")  # of each destination, or -1
    matched = np.flatnonzero(partner >= 0)
    is_free = np.ones(num_src, bool)
    is_free[partner[matched]] = False
    # Alternating paths start at a source without a partner, go to a destination by any edge, and on to its partner. The
    # nodes here are the sources, the destinations, and one more, before the sources without a partner.
    free, start = np.flatnonzero(is_free), num_src + num_dst
    tails = np.concatenate([src, num_src + matched, np.full(len(free), start)])
    heads = np.concatenate([num_src + dst, partner[matched], free])
    paths = coo_matrix((np.ones(len(tails)), (tails, heads)), shape=(start + 1, start + 1)).tocsr()
    reached = np.zeros(start + 1, bool)
    reached[breadth_first_order(paths, start, return_predecessors=False)] = True
    return ~reached[:num_src], reached[num_src:start]
