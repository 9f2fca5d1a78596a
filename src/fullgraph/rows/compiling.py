"""``torch.compile`` leaves what works on `Rows` as it is: compiled code would have this rank's sizes for the graph's.

Dynamo makes fake tensors of the local memory and guards their shapes. Told not to trace `Rows`, it breaks its graph
wherever they are used, compiles what is between, and follows no call into what works on them.
"""

import torch._dynamo.config
import torch._dynamo.trace_rules

from fullgraph.rows.tensor import Rows


def never_trace(rows: type[Rows]) -> None:
    """Tell Dynamo of a class of `Rows`; of each by itself."""
    torch._dynamo.config.nontraceable_tensor_subclasses.add(rows)


never_trace(Rows)
for package in ("comm", "engine", "graph", "pyg", "rows"):  # but into kernels, which compiled code may call
    torch._dynamo.trace_rules.add(f"fullgraph.{package}")
