"""A block seen from the other side: the same edges, built once, and back again without a copy."""

import gc
from weakref import ref

import torch

from fullgraph.graph.block import Block


def _block() -> Block:
    rows, cols = torch.tensor([0, 2, 0, 2, 2]), torch.tensor([1, 0, 1, 3, 2])
    return Block.from_edges(rows, cols, torch.tensor([7, 6, 5, 4, 3]), num_rows=3, num_cols=4)


def test_the_transpose_has_the_same_edges() -> None:
    turned = _block().transposed
    assert turned.indptr.tolist() == [0, 1, 3, 4, 5]
    assert turned.indices.tolist() == [2, 0, 0, 2, 2]
    assert turned.edge_ids is not None
    assert turned.edge_ids.tolist() == [6, 7, 5, 3, 4]
    assert turned.num_cols == 3


def test_the_transpose_of_a_transpose_is_the_block_itself() -> None:
    block = _block()
    assert block.transposed.transposed is block


def test_a_transpose_does_not_keep_the_block_alive() -> None:
    block = _block()
    turned, watched = block.transposed, ref(block)
    gc.disable()
    try:
        del block
        assert watched() is None
    finally:
        gc.enable()
    again = turned.transposed
    assert again.indptr.tolist() == _block().indptr.tolist()
    assert again.transposed is turned
