"""The project's own benchmarks, importable: each case measures, verifies what it measured and returns a report."""

from collections.abc import Mapping

from fullgraph.bench import (
    accuracy,
    attention,
    general,
    gpu,
    kernels,
    link,
    memory,
    precision,
    products,
    pruning,
    relational,
    scaling,
    streaming,
    train,
    wire,
)
from fullgraph.bench.case import Case, Request
from fullgraph.bench.report import Report, Table, write_report

CASES: Mapping[str, Case] = {
    "accuracy": accuracy.run,
    "accuracy-bf16": accuracy.run_bf16,
    "attention": attention.run,
    "general": general.run,
    "gpu": gpu.run,
    "kernels": kernels.run,
    "link": link.run,
    "memory": memory.run,
    "precision": precision.run,
    "products": products.run,
    "pruning": pruning.run,
    "relational": relational.run,
    "scaling": scaling.run,
    "streaming": streaming.run,
    "train": train.run,
    "wire": wire.run,
}

ROOT_ONLY = frozenset({"link"})
"""Cases that need more rights than a user has."""

__all__ = ["CASES", "ROOT_ONLY", "Case", "Report", "Request", "Table", "write_report"]
