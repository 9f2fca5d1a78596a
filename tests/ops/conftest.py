"""Kernels know no rows: they are tested, and compiled, without the global view."""

from collections.abc import Iterator

import pytest

from tests.global_view import global_view_off


@pytest.fixture(autouse=True)
def without_global_view() -> Iterator[None]:
    with global_view_off():
        yield
