"""The cheapest rows that can carry a sum from one rank to another.

An edge from a row of rank p to a row of rank q is carried either by its source's row, which q adds wherever it is
needed, or by a partial sum of its destination, which p forms from all of its sources there. So the rows that travel are
a vertex cover of the bipartite graph of these edges, and the cheapest is a narrowest cut of a network of pipes (Kőnig
1931, Ford and Fulkerson 1956). To send every source with an edge into q, as SAR does (Mostafa 2022, §3), is one cover;
where destinations have many sources it is far from the cheapest.
"""

import numpy as np

# A row after a ReLU travels in half of its bytes (`comm.wire`) and a sum of many such rows has no zeros, but one of two
# has some; backward nothing has. So a source costs upwards of 3/4 of a partial sum, and as much where activations have
# no zeros, as in a last layer that projects first. One ratio serves all layers: on the reference generator's graphs
# this one sent least.
ROW_COST, SUM_COST = 5, 6


def cheapest_cover(src: np.ndarray, dst: np.ndarray, num_src: int, num_dst: int) -> tuple[np.ndarray, np.ndarray]:
    """The set of sources and destinations with an end of every edge that costs least; of these the one of most sources.

    A source costs `ROW_COST`, a destination `SUM_COST`.

    Args:
        src: int ``[num_edges]``, below ``num_src``; an edge may come more than once.
        dst: int ``[num_edges]``, below ``num_dst``.
        num_src: how many sources there are.
        num_dst: how many destinations there are.

    Returns:
        bool ``[num_src]`` and ``[num_dst]``: which are in the cover.
    """
    from scipy.sparse import csr_matrix  # 20 MiB, which one rank alone need not
    from scipy.sparse.csgraph import breadth_first_order, maximum_flow

    # A pipe from the start to each source, one along each edge, and one from each destination to the end. The narrowest
    # cut leaves the pipes along edges whole, since they are wider than those to their sources; so it is a cover.
    start, end = num_src + num_dst, num_src + num_dst + 1
    tails = np.concatenate([np.full(num_src, start), src, np.arange(num_src, start)])
    heads = np.concatenate([np.arange(num_src), num_src + dst, np.full(num_dst, end)])
    width = np.repeat(np.array([ROW_COST, ROW_COST + 1, SUM_COST], np.int32), [num_src, len(src), num_dst])
    pipes = csr_matrix((width, (tails, heads)), shape=(end + 1, end + 1))
    spare = pipes - maximum_flow(pipes, start, end).flow
    spare.eliminate_zeros()
    reached = np.zeros(end + 1, bool)
    reached[breadth_first_order(spare, start, return_predecessors=False)] = True
    return ~reached[:num_src], reached[num_src:start]
