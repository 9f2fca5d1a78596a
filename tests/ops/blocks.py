"""CSR blocks that the laws of the ops must hold on: hypothesis draws them, with every awkward shape there is."""

from dataclasses import dataclass, replace

import torch
from hypothesis import strategies as st
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class DrawnBlock:
    """A CSR block, the edge ids of its entries and a seed for the values that go with it."""

    indptr: Tensor
    indices: Tensor
    edge_ids: Tensor | None
    num_columns: int
    num_edges: int
    seed: int

    def to(self, device: str) -> "DrawnBlock":
        """The block there, and the values that go with it."""
        ids = None if self.edge_ids is None else self.edge_ids.to(device)
        return replace(self, indptr=self.indptr.to(device), indices=self.indices.to(device), edge_ids=ids)

    @property
    def num_rows(self) -> int:
        return self.indptr.numel() - 1

    def csr(self) -> tuple[Tensor, Tensor]:
        return self.indptr, self.indices

    def transposed(self) -> "DrawnBlock":
        """The same edges with rows and columns exchanged, edge ids kept."""
        rows = torch.repeat_interleave(torch.arange(self.num_rows, device=self.indptr.device), self.indptr.diff())
        order = torch.argsort(self.indices, stable=True)
        counts = torch.bincount(self.indices.long(), minlength=self.num_columns)
        return DrawnBlock(
            indptr=torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
            indices=rows[order].int(),
            edge_ids=order.int() if self.edge_ids is None else self.edge_ids[order],
            num_columns=self.num_rows,
            num_edges=self.num_edges,
            seed=self.seed,
        )

    def split(self) -> "tuple[DrawnBlock, DrawnBlock]":
        """Two blocks over the same rows and columns with every other entry each, edge ids kept."""
        device = self.indptr.device
        rows = torch.repeat_interleave(torch.arange(self.num_rows, device=device), self.indptr.diff())
        numbers = torch.arange(self.indices.numel(), device=device)
        ids = numbers.int() if self.edge_ids is None else self.edge_ids
        halves = []
        for parity in (0, 1):
            chosen = numbers % 2 == parity
            counts = torch.bincount(rows[chosen], minlength=self.num_rows)
            halves.append(
                DrawnBlock(
                    indptr=torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
                    indices=self.indices[chosen],
                    edge_ids=ids[chosen],
                    num_columns=self.num_columns,
                    num_edges=self.num_edges,
                    seed=self.seed,
                )
            )
        return halves[0], halves[1]

    def values(self, dtype: torch.dtype = torch.float64) -> "Values":
        return Values(torch.Generator().manual_seed(self.seed), dtype, self.indptr.device)


class Values:
    """Seeded normal tensors, one after another."""

    def __init__(self, generator: torch.Generator, dtype: torch.dtype, device: torch.device) -> None:
        self.generator = generator
        self.dtype, self.device = dtype, device

    def __call__(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator, dtype=torch.float64).to(self.device, self.dtype)

    def keys(self, count: int) -> Tensor:
        return torch.randint(-(2**63), 2**63 - 1, (count,), generator=self.generator).to(self.device)


def block_of(degrees: list[int], num_columns: int, seed: int, *, named: bool) -> DrawnBlock:
    """A block whose rows have these degrees, with random columns (so multi-edges and self-loops are common)."""
    generator = torch.Generator().manual_seed(seed)
    num_entries = sum(degrees)
    num_edges = num_entries + (3 if named else 0)
    return DrawnBlock(
        indptr=torch.tensor([0, *degrees], dtype=torch.int64).cumsum(0),
        indices=torch.randint(0, max(num_columns, 1), (num_entries,), generator=generator, dtype=torch.int32),
        edge_ids=torch.randperm(num_edges, generator=generator)[:num_entries].int() if named else None,
        num_columns=num_columns,
        num_edges=num_edges,
        seed=seed,
    )


@st.composite
def blocks(draw: st.DrawFn) -> DrawnBlock:
    """No rows, empty rows, one row, several, or a hub longer than two of a kernel's chunks."""
    degrees = draw(st.lists(st.integers(0, 6), max_size=9))
    if degrees and draw(st.booleans()):
        degrees[draw(st.integers(0, len(degrees) - 1))] = draw(st.integers(60, 200))
    num_columns = draw(st.integers(1 if sum(degrees) else 0, 12))
    return block_of(degrees, num_columns, draw(st.integers(0, 2**31)), named=draw(st.booleans()))


def hub_block(num_rows: int = 300, hub: int = 20_000, seed: int = 1) -> DrawnBlock:
    """A block big enough for several threads, whose first row has most of the edges."""
    return block_of([hub, *([7, 0, 31] * num_rows)[: num_rows - 1]], 500, seed, named=True)


widths = st.integers(1, 40)
wide = st.one_of(widths, st.integers(41, 300), st.sampled_from([64, 128, 256, 300]))
heads = st.integers(1, 4)
