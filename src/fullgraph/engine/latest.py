"""What was made of the last tensor, for as long as that is unchanged: constants come again in every epoch."""

from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import ref

from torch import Tensor

T = TypeVar("T")


class Latest(Generic[T]):
    """One answer, remembered with the tensor that it belongs to and that tensor's version."""

    def __init__(self) -> None:
        self._known: tuple[ref[Tensor], int, T] | None = None

    def of(self, tensor: Tensor, make: Callable[[], T]) -> T:
        """The answer of the time before, if ``tensor`` is the same unchanged one; else what ``make`` gives."""
        if self._known is not None:
            last, version, answer = self._known
            if last() is tensor and version == tensor._version:
                return answer
        answer = make()
        self._known = (ref(tensor), tensor._version, answer)
        return answer
