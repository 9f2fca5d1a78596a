"""What a rank must hold, as formulas: the tables of ``docs/memory.md`` as functions.

A measured peak alone does not say how far it is from what must be held.
"""

from fullgraph.config import Recompute

NUM_LAYERS = 3
"""Of the models that the table is about: PyG's, with batch norm and ReLU."""


def kept_numbers(model: str, hidden: int, classes: int, heads: int, *, dropout: bool, recompute: Recompute) -> int:
    """Numbers per own row that are alive at the end of forward.

    Args:
        model: ``SAGE``, ``GCN`` or ``GAT``.
        hidden: columns of a hidden layer, of all heads together.
        classes: columns of the output.
        heads: of attention; other models have none.
        dropout: whether there is any.
        recompute: what backward makes again, see `EngineConfig`.
    """
    is_attention, as_it_comes = model == "GAT", recompute == "none"
    tensors = 1  # a hidden layer's output, before its norm
    if as_it_comes:
        tensors += 1 + dropout  # what ReLU makes of it, and dropout
    if is_attention:
        tensors += as_it_comes  # the output before its bias
        tensors += recompute != "layer"  # the projected rows
    kept = (NUM_LAYERS - 1) * tensors * hidden
    if is_attention:
        kept += (1 if recompute == "layer" else 2) * heads * classes + 3 * heads * NUM_LAYERS
    return kept


def numbers_at_work(hidden: int, classes: int) -> int:
    """Numbers per own row that GraphSAGE and GCN hold at the worst moment, beside what is kept.

    That is in the last layer's backward: the model's output, its gradient and the sum of that, and the gradient of the
    layer's input.

    Args:
        hidden: columns of a hidden layer.
        classes: columns of the output.
    """
    return hidden + 3 * classes
