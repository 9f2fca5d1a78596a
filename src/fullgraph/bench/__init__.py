"""The project's own benchmarks, importable: each case measures, verifies what it measured and returns a report."""

from collections.abc import Mapping

from fullgraph.bench import accuracy, attention, general, kernels, memory, relational, train, wire
from fullgraph.bench.case import Case, Request
from fullgraph.bench.report import Report, Table, write_report

CASES: Mapping[str, Case] = {
    "accuracy": accuracy.run,
    "attention": attention.run,
    "general": general.run,
    "kernels": kernels.run,
    "memory": memory.run,
    "relational": relational.run,
    "train": train.run,
    "wire": wire.run,
}

__all__ = ["CASES", "Case", "Report", "Request", "Table", "write_report"]
