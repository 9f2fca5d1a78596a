"""Sharpness-aware minimisation by hand: climb along the gradient, take a second one there, step from where it was."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import GATConv

data = fg.open(dataset[0])


class GAT(torch.nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.conv1 = GATConv(in_channels, 8, heads=2)
        self.conv2 = GATConv(16, out_channels)

    def forward(self, x, edge_index):
        return self.conv2(F.elu(self.conv1(x, edge_index)), edge_index)


model = GAT(dataset.num_features, dataset.num_classes)
fg.prepare(model, data)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
rho = 0.05


def loss_fn():
    out = model(data.x, data.edge_index)
    return F.cross_entropy(out[data.train_mask], data.y[data.train_mask])


losses = []
for epoch in range(4):
    loss = loss_fn()
    loss.backward()
    with torch.no_grad():
        grad_norm = torch.norm(torch.stack([p.grad.norm(p=2) for p in model.parameters()]), p=2)
        perturbations = [rho / (grad_norm + 1e-12) * p.grad for p in model.parameters()]
        for p, e_w in zip(model.parameters(), perturbations, strict=True):
            p.add_(e_w)
    optimizer.zero_grad()

    loss_fn().backward()
    with torch.no_grad():
        for p, e_w in zip(model.parameters(), perturbations, strict=True):
            p.sub_(e_w)
    optimizer.step()
    optimizer.zero_grad()
    losses.append(loss.item())
    print(f"Epoch: {epoch:03d}, Loss: {loss:.4f}")

out = model(data.x, data.edge_index)
