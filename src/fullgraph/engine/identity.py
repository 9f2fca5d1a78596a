"""Whether a tensor is the very one that was seen before, unchanged: what is remembered of it holds for as long.

To compare the numbers would read all of them each time; a weak reference and a version cost nothing.
"""

from collections.abc import Callable, Hashable
from weakref import ref

from torch import Tensor


def could_be_constant(*inputs: Tensor | None) -> bool:
    """Whether no gradient is asked of any of them, and changes to them can be noticed."""
    return all(t is None or not (t.requires_grad or t.is_inference()) for t in inputs)


class Identity:
    """Which memory of which tensor, and its version: while these are the same, so are its numbers.

    Layers make new views of one tensor in every call, so what counts is the tensor that a view belongs to.
    """

    def __init__(self, tensor: Tensor, forget: Callable[[object], None]):
        self._origin = ref(_origin(tensor), forget)
        self._version, self._place = tensor._version, _place(tensor)

    def is_still(self, tensor: Tensor) -> bool:
        """Whether ``tensor`` is that memory, unchanged."""
        same = self._origin() is _origin(tensor)
        return same and self._version == tensor._version and self._place == _place(tensor)

    def replaces(self, earlier: "Identity") -> bool:
        """Whether this is the same tensor at another version."""
        return self._origin() is earlier._origin() and self._version != earlier._version


def _origin(tensor: Tensor) -> Tensor:
    base = tensor._base if tensor._is_view() else None
    return tensor if base is None else base


def _place(tensor: Tensor) -> Hashable:
    return tensor.storage_offset(), tuple(tensor.shape), tensor.stride(), tensor.dtype
