"""Turns the global view off, which any test that opens a graph in this process has turned on for good."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch.overrides import _get_current_function_mode_stack

from fullgraph.rows.factories import GlobalView, enter_global_view


@contextmanager
def global_view_off() -> Iterator[None]:
    """Within, torch's functions are as they are in a process that has opened no graph."""
    modes = _get_current_function_mode_stack()
    was_on = bool(modes) and isinstance(modes[-1], GlobalView)
    if was_on:
        modes[-1].__exit__(None, None, None)
    try:
        yield
    finally:
        if was_on:
            enter_global_view()
