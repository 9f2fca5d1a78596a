"""A tensor that a layer's methods leave behind as an attribute, found out when it is read as if it were of all edges.

A method runs on some edges at a time, so what it stored is those of the last time. To keep all would be what a layer in
pieces is there to spare.
"""

from typing import Any

from fullgraph.rows import LooksBeyondPiece


class Stashed(LooksBeyondPiece):
    """A layer reads what its methods left of some edges as if it were of all."""


class OfOneRun:
    """Stands where a method left a tensor as an attribute: it was there for some edges only, one run at a time."""

    def __init__(self, name: str):
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        raise Stashed(
            "a layer that runs on some edges at a time keeps no tensor of all edges; ask for return_attention_weights, "
            f"or open the graph in mode 'halo', to read: {self._name}"
        )

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return next(x for x in (*args, *(kwargs or {}).values()) if isinstance(x, OfOneRun)).anything


def _reading(self: OfOneRun, *args: Any) -> Any:
    return self.anything


_OPERATIONS = """add radd sub rsub mul rmul truediv rtruediv floordiv rfloordiv pow rpow mod rmod matmul rmatmul neg
    abs invert and rand or ror xor rxor eq ne lt le gt ge getitem setitem len iter contains float int bool index"""
for _operation in _OPERATIONS.split():
    setattr(OfOneRun, f"__{_operation}__", _reading)


def of_all_edges(out: Any) -> Any:
    """What a layer returns, unless something in it is of some edges only."""
    for entry in out if isinstance(out, list | tuple) else (out,):
        if isinstance(entry, OfOneRun):
            _reading(entry)
    return out
