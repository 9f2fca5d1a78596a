"""What only some users have installed: where it is missing, one sentence says which line brings it."""

from collections.abc import Iterator
from contextlib import contextmanager

from fullgraph.errors import MissingExtra


@contextmanager
def extra(name: str, what: str) -> Iterator[None]:
    """A block of imports that the extra ``name`` of this package brings, and that only ``what`` needs.

    Raises:
        MissingExtra: one of them is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"{what} needs a library that is not installed; type: pip install 'fullgraph[{name}]': {error.name}"
        ) from error
