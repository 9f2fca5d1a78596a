"""Layers that the library has never seen, as users write them, and one graph-sized habit of each."""

import torch
from torch import Tensor
from torch_geometric.nn import MessagePassing
from torch_geometric.utils import add_self_loops, degree, softmax


class EdgeMLP(MessagePassing):
    """A network over both ends, summed."""

    def __init__(self, num_in: int, num_out: int):
        super().__init__(aggr="add")
        self.nn = torch.nn.Sequential(torch.nn.Linear(2 * num_in, 10), torch.nn.ReLU(), torch.nn.Linear(10, num_out))

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.propagate(edge_index, x=x)

    def message(self, x_i: Tensor, x_j: Tensor) -> Tensor:
        return self.nn(torch.cat([x_i, x_j - x_i], dim=-1))


class Gated(MessagePassing):
    """Both ends and edge attributes; a softmax over neighbours inside the message; self-loops and an update."""

    def __init__(self, num_in: int, num_out: int, num_edge: int):
        super().__init__(aggr="add", node_dim=0)
        self.lin, self.gate = torch.nn.Linear(num_in, num_out), torch.nn.Linear(2 * num_out + num_edge, 1)

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        edge_index, edge_attr = add_self_loops(edge_index, edge_attr, fill_value=0.5, num_nodes=x.size(0))
        return self.propagate(edge_index, x=self.lin(x), attributes=edge_attr)

    def message(self, x_i: Tensor, x_j: Tensor, attributes: Tensor, index: Tensor, size_i: int) -> Tensor:
        score = self.gate(torch.cat([x_i, x_j, attributes], dim=-1)).tanh()
        return softmax(score, index, num_nodes=size_i) * x_j

    def update(self, inputs: Tensor, x: Tensor) -> Tensor:
        return inputs + x.sigmoid()


class Chained(MessagePassing):
    """Two propagations, the second of what the first gave, by a degree that the layer counts itself."""

    def __init__(self, num_in: int, num_out: int):
        super().__init__(aggr="mean")
        self.first, self.second = torch.nn.Linear(num_in, num_out), torch.nn.Linear(num_out, num_out)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        row, col = edge_index
        norm = (degree(col, x.size(0), dtype=x.dtype) + 1).rsqrt()
        weight = norm[row] * norm[col]
        hidden = self.propagate(edge_index, x=self.first(x), weight=weight).relu()
        return hidden + self.propagate(edge_index, x=self.second(hidden), weight=weight)

    def message(self, x_j: Tensor, weight: Tensor) -> Tensor:
        return weight.view(-1, 1) * x_j


class Several(MessagePassing):
    """Several aggregations side by side, one of them learned."""

    def __init__(self, num_in: int, num_out: int):
        super().__init__(
            aggr=["mean", "max", "std", "softmax"], aggr_kwargs={"aggrs_kwargs": [{}, {}, {}, {"learn": True}]}
        )
        self.lin = torch.nn.Linear(5 * num_in, num_out)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.lin(torch.cat([x, self.propagate(edge_index, x=x)], dim=-1))

    def message(self, x_j: Tensor) -> Tensor:
        return x_j.tanh()


class RunningNorm(MessagePassing):
    """Keeps a running mean of its messages, over all edges of the graph, in a buffer that `message` changes."""

    def __init__(self, num_in: int, num_out: int):
        super().__init__(aggr="add")
        self.norm, self.lin = torch.nn.BatchNorm1d(num_in), torch.nn.Linear(num_in, num_out)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.propagate(edge_index, x=x)

    def message(self, x_i: Tensor, x_j: Tensor) -> Tensor:
        return self.lin(self.norm(x_j * x_i).relu())


class Twice(MessagePassing):
    """The same rows at both ends and by themselves, the same edge attributes under two names."""

    def __init__(self, num_in: int, num_out: int, num_edge: int):
        super().__init__(aggr="add")
        self.lin = torch.nn.Linear(2 * num_in + 2 * num_edge, num_out)

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        return self.propagate(edge_index, x=x, first=edge_attr, second=edge_attr)

    def message(self, x_i: Tensor, x_j: Tensor, first: Tensor, second: Tensor) -> Tensor:
        return self.lin(torch.cat([x_i * x_j, x_j, first.tanh(), second], dim=-1)).tanh()

    def update(self, inputs: Tensor, x: Tensor) -> Tensor:
        return inputs * x.mean(dim=1, keepdim=True)


class ByPlace(MessagePassing):
    """Chooses rows of destinations by itself, and updates by numbers of rows."""

    def __init__(self, num_in: int, num_out: int):
        super().__init__(aggr="max")
        self.lin = torch.nn.Linear(num_in, num_out)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.propagate(edge_index, x=self.lin(x), scale=x.sum(dim=1).sigmoid())

    def message(self, x_j: Tensor, scale: Tensor, index: Tensor) -> Tensor:
        return x_j * scale[index].view(-1, 1)


class Shifted(MessagePassing):
    """A message of the destination alone, an argument that is left out, and one that no edge changes."""

    def __init__(self, num_in: int, num_out: int):
        super().__init__(aggr="mean")
        self.lin, self.shift = torch.nn.Linear(num_in, num_out), torch.nn.Parameter(torch.randn(num_out))

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.propagate(edge_index, x=x, shift=self.shift.tanh(), power=2)

    def message(self, x_i: Tensor, shift: Tensor, power: int, scale: float = 0.5) -> Tensor:
        return scale * (self.lin(x_i) + shift) ** power
