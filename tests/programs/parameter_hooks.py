"""Hooks on the parameters that collect gradient norms and halve the gradients of the biases."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import GCNConv

data = fg.open(dataset[0])


class GCN(torch.nn.Module):
    def __init__(self, in_channels, hidden_channels, out_channels):
        super().__init__()
        self.conv1 = GCNConv(in_channels, hidden_channels)
        self.conv2 = GCNConv(hidden_channels, out_channels)

    def forward(self, x, edge_index):
        x = self.conv1(x, edge_index).relu()
        return self.conv2(x, edge_index)


model = GCN(dataset.num_features, 16, dataset.num_classes)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

grad_norms = {}
for name, p in model.named_parameters():
    p.register_hook(lambda grad, name=name: grad_norms.setdefault(name, []).append(grad.norm().item()))
    if name.endswith("bias"):
        p.register_hook(lambda grad: 0.5 * grad)

losses = []
for _ in range(4):
    optimizer.zero_grad()
    out = model(data.x, data.edge_index)
    loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

for name in sorted(grad_norms):
    print(name, grad_norms[name])
out = {"logits": out, "grad_norms": grad_norms, "grads": [p.grad for p in model.parameters()]}
