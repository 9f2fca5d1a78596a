"""A real data set with no download: scikit-learn's 1,797 handwritten digits, each joined to the digits most like it."""

import numpy as np

from fullgraph.datasets.split import class_split
from fullgraph.extras import extra
from fullgraph.graph.graph import Graph

NUM_NEIGHBORS = 10


def digits() -> Graph:
    """The k-nearest-neighbour graph (k = 10, made symmetric, no self-loops) over 8 × 8 images.

    ``x`` is float32 [1797, 64] from 0 to 1, ``y`` the digit; 20 images of each digit train, 30 validate.

    Raises:
        MissingExtra: without scikit-learn.
    """
    with extra("cli", "the data set digits"):
        from sklearn.datasets import load_digits
    images, y = load_digits(return_X_y=True)
    pixels = np.asarray(images).astype(np.int64)  # whole numbers from 0 to 16: distances are exact, so ties are too
    squares = (pixels**2).sum(axis=1)
    distance = squares[:, None] + squares[None, :] - 2 * pixels @ pixels.T
    np.fill_diagonal(distance, distance.max() + 1)
    nearest = np.argsort(distance, axis=1, kind="stable")[:, :NUM_NEIGHBORS]
    joined = np.zeros(distance.shape, bool)
    joined[np.arange(len(pixels))[:, None], nearest] = True
    dst, src = np.nonzero(joined | joined.T)
    y = np.asarray(y).astype(np.int64)
    return Graph.homogeneous(
        np.stack([src, dst]),
        num_nodes=len(pixels),
        x=(pixels / 16).astype(np.float32),
        y=y,
        **class_split(y, seed=0),  # pyright: ignore[reportArgumentType]
    )
