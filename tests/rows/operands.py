"""The tensors that functions are called with blindly, by short names, and calls as Python expressions of them."""

import math
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

N, C, K, M, L = 7, 3, 2, 5, 8
"""Rows, columns, more columns, rows of another kind, and a length for convolutions: no two the same."""


class Operand(NamedTuple):
    """A tensor of the whole graph; ``dim`` is the dimension of rows, or None, of ``space``."""

    whole: Tensor
    dim: int | None = None
    space: str = "node"


def operands() -> dict[str, Operand]:
    """All tensors that patterns name, the same each time. One letter is mostly a shape, an E in front: everywhere."""
    g = torch.Generator().manual_seed(11)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=g, dtype=torch.float64)

    def number(high: int, *shape: int) -> Tensor:
        return torch.randint(high, shape, generator=g)

    def truth(*shape: int) -> Tensor:
        return torch.rand(shape, generator=g) > 0.4

    def share(*shape: int) -> Tensor:
        return torch.rand(shape, generator=g, dtype=torch.float64) * 0.8 + 0.1

    of_rows = {
        "x": normal(N, C),
        "y": normal(N, C),
        "p": share(N, C),
        "v": normal(N),
        "u": normal(N),
        "vp": share(N),
        "k": normal(N, K),
        "col": normal(N, 1),
        "x3": normal(N, C, K),
        "y3": normal(N, C, K),
        "sq": normal(N, C, C) + 3 * torch.eye(C, dtype=torch.float64),
        "pd": 2 * torch.eye(C, dtype=torch.float64) + torch.zeros(N, C, C, dtype=torch.float64),
        "x4": normal(N, 4),
        "seq": normal(N, C, L),
        "img": normal(N, C, 4, 4),
        "vol": normal(N, C, 4, 4, 4),
        "f": normal(N, C).float(),
        "h": normal(N, C).bfloat16(),
        "z": torch.complex(normal(N, C), normal(N, C)),
        "ids": number(N, N),
        "lab": number(C, N),
        "ties": number(3, N),
        "i": number(6, N, C),
        "j": number(6, N, C) + 1,
        "at": number(C, N, C),
        "at1": number(C, N, 1),
        "rid": number(N, N, C),
        "hot": number(2, N, C),
        "by": number(200, N, C).to(torch.uint8),
        "m": truth(N),
        "mm": truth(N, C),
        "m1": truth(N, 1),
        "tie": number(3, N, C).double(),
        "nan": torch.where(truth(N, C), normal(N, C), math.nan),
        "sign": number(2, N).double() * 2 - 1,
        "one": normal(N, 1, C),
    }
    everywhere = {
        "E": normal(N, C),
        "Ev": normal(N),
        "Ecol": normal(N, 1),
        "E3": normal(N, C, K),
        "Ep": share(N, C),
        "Ec": normal(C),
        "Ecp": share(C),
        "Ec1": normal(C, 1),
        "W": normal(C, K),
        "WT": normal(K, C),
        "b": normal(K),
        "Q": normal(C, C) + 3 * torch.eye(C, dtype=torch.float64),
        "A": normal(N, N),
        "AK": normal(K, N),
        "W3": normal(K, C, C),
        "W4": normal(K, C, 2, 2),
        "B1": normal(1, C),
        "R3": normal(K, N, C),
        "S": normal().abs(),
        "Ef": normal(C).float(),
        "Eids": torch.tensor([2, 0, 2, N - 1]),
        "Eneg": torch.tensor([-1, 3, -N, 2]),
        "Ebig": torch.tensor([0, N, 1]),
        "Enone": torch.zeros(0, dtype=torch.int64),
        "Em": truth(N),
        "Emm": truth(N, C),
        "Emc": truth(C),
        "Ecid": torch.tensor([0, 2]),
        "Elab": number(C, N),
        "Eid": number(N, N),
        "Ei": number(6, N, C),
        "Erid": number(N, N, C),
        "Eat": number(C, N, C),
        "Ei3": number(N, K, C),
        "Es": torch.tensor(3),
        "src": normal(4, C),
        "src1": normal(4),
        "edges": torch.linspace(-1, 1, 4, dtype=torch.float64),
        "Ecols": number(3, C),
        "Etop": normal(M, C),
        "Eq": torch.tensor([0.2, 0.7], dtype=torch.float64),
    }
    in_columns = {"t": normal(C, N), "t3": normal(C, N, K), "t2": normal(C, N), "ti": number(4, C, N)}
    of_others = {"o": normal(N, C), "oi": number(N, N), "om": truth(N), "ov": normal(N)}
    of_fewer = {"w": normal(M, C), "wv": normal(M), "wi": number(N, M), "wm": truth(M), "wt": number(C, M)}
    return {
        **{name: Operand(x, 0) for name, x in of_rows.items()},
        **{name: Operand(x) for name, x in everywhere.items()},
        **{name: Operand(x, 1) for name, x in in_columns.items()},
        **{name: Operand(x, 0, "other") for name, x in of_others.items()},
        **{name: Operand(x, 0, "fewer") for name, x in of_fewer.items()},
    }


class Bound(Mapping[str, Any]):
    """What names mean in a pattern: each tensor made when it is named first.

    ``make(operand)`` gives a leaf, a tensor made from it, which is ``held``, and of rows their space and dimension.
    """

    def __init__(self, made_from: dict[str, Operand], make: Any):
        self._from, self._make = made_from, make
        self.held: dict[str, Tensor] = {}
        self.leaves: dict[str, Tensor] = {}
        self.places: dict[str, tuple[Any, int] | None] = {}

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.held:
            operand = self._from[name]  # a KeyError sends Python on to its globals
            leaf, self.held[name], self.places[name] = self._make(operand)
            if leaf.requires_grad:
                self.leaves[name] = leaf
        return self.held[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._from)

    def __len__(self) -> int:
        return len(self._from)


def _call(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return args, kwargs


def arguments(pattern: str, bound: Bound) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What a pattern stands for."""
    return eval(_compiled(pattern), {"torch": torch, "_call": _call, "float": float}, bound)


@cache
def _compiled(pattern: str) -> Any:
    return compile(f"_call({pattern})", pattern, "eval")
