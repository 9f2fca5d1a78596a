"""Training, validation and test rows for graphs that are published without, drawn from a seed."""

import numpy as np

TRAIN_PER_CLASS, VAL_PER_CLASS = 20, 30


def class_split(y: np.ndarray, *, seed: int) -> dict[str, np.ndarray]:
    """20 rows of every class to train, 30 to validate, the rest to test (Shchur et al. 2018).

    A class of fewer than 60 rows gives a third to each. Rows without a label (negative) are in no mask.

    Args:
        y: whole numbers [num_nodes].
        seed: same labels and seed: same masks.

    Returns:
        ``train_mask``, ``val_mask``, ``test_mask``, bool [num_nodes].
    """
    generator = np.random.default_rng(seed)
    masks = {name: np.zeros(len(y), bool) for name in ("train_mask", "val_mask", "test_mask")}
    for label in np.unique(y[y >= 0]):
        rows = generator.permutation(np.flatnonzero(y == label))
        num_train = min(TRAIN_PER_CLASS, -(-len(rows) // 3))
        num_val = min(VAL_PER_CLASS, len(rows) // 3)
        masks["train_mask"][rows[:num_train]] = True
        masks["val_mask"][rows[num_train : num_train + num_val]] = True
        masks["test_mask"][rows[num_train + num_val :]] = True
    return masks
