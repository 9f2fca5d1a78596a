"""Bipartite layers that are given no rows of the targets, with and without the sizes of both sides."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import GATConv, GraphConv, Linear, SAGEConv, SimpleConv

data = fg.open(dataset[0])
sizes = (data["author"].num_nodes, data["paper"].num_nodes)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = Linear(5, 8)
        self.graph, self.sage = GraphConv((8, 8), 8), SAGEConv((8, 8), 8)
        self.gat, self.median = GATConv((8, 8), 8, add_self_loops=False), SimpleConv("median")
        self.last = Linear(8, 4)

    def forward(self, x, edge_index, back):
        x = self.first(x)
        papers = self.graph((x, None), edge_index, size=sizes) + self.sage((x, None), edge_index, size=sizes)
        papers = papers + self.gat((x, None), edge_index, size=sizes) + self.median((x, None), edge_index, size=sizes)
        authors = self.graph((papers, None), back) + self.sage((papers, None), back)  # as many rows as papers
        return self.last(papers), authors[: sizes[0]] + x


model = Net()
fg.prepare(model, data)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
losses = []
for _ in range(4):
    optimizer.zero_grad()
    edge_index, back = (
        data[name].edge_index for name in (("author", "writes", "paper"), ("paper", "rev_writes", "author"))
    )
    out, authors = model(data["author"].x, edge_index, back)
    mask = data["paper"].train_mask
    loss = F.cross_entropy(out[mask], data["paper"].y[mask]) + authors.pow(2).mean()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
