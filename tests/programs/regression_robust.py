"""Two regression heads, one with an L1 loss and one with a Huber loss, over all nodes at once."""

import torch
from torch import nn
from torch_geometric.nn import GraphConv

data = fg.open(dataset[0])


class TwoHeads(nn.Module):
    def __init__(self, in_channels, hidden_channels):
        super().__init__()
        self.conv = GraphConv(in_channels, hidden_channels, aggr="mean")
        self.density = nn.Linear(hidden_channels, 1)
        self.position = nn.Linear(hidden_channels, 3)

    def forward(self, x, edge_index):
        h = self.conv(x, edge_index).relu()
        return self.density(h), self.position(h)


model = TwoHeads(data.num_node_features, 16)
fg.prepare(model, data)
optimizer = torch.optim.RMSprop(model.parameters(), lr=0.01)
l1 = nn.L1Loss()
huber = nn.HuberLoss(delta=0.5)
norms = data.pos.norm(dim=-1, keepdim=True)

losses = []
for _ in range(4):
    optimizer.zero_grad()
    density, position = model(data.x, data.edge_index)
    loss = l1(density, norms) + huber(position, data.pos)
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

out = {"density": density, "position": position}
