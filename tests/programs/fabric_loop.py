"""A training loop with Lightning's Fabric."""

import torch
import torch.nn.functional as F
from lightning.fabric import Fabric
from torch_geometric.nn import GATConv

fabric = Fabric(accelerator="cpu", devices=1)
data = fg.open(dataset[0])


class GAT(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = GATConv(dataset.num_features, 8, heads=2)
        self.conv2 = GATConv(16, dataset.num_classes)

    def forward(self, x, edge_index):
        return self.conv2(F.elu(self.conv1(x, edge_index)), edge_index)


model = GAT()
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
wrapped, optimizer = fabric.setup(model, optimizer)

losses = []
for _ in range(4):
    optimizer.zero_grad()
    out = wrapped(data.x, data.edge_index)
    loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
    fabric.backward(loss)
    fabric.clip_gradients(wrapped, optimizer, max_norm=0.5)
    optimizer.step()
    losses.append(loss.item())
