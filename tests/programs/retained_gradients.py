"""Grad-CAM as for explaining nodes: the hidden activations keep their gradient, and forward hooks keep activations."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import GCNConv

data = fg.open(dataset[0])
activations = {}


class GCN(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = GCNConv(dataset.num_features, 16)
        self.conv2 = GCNConv(16, 16)
        self.lin = torch.nn.Linear(16, dataset.num_classes)

    def forward(self, x, edge_index):
        x = self.conv1(x, edge_index).relu()
        self.final_conv_acts = self.conv2(x, edge_index)
        if self.final_conv_acts.requires_grad:
            self.final_conv_acts.retain_grad()
        return self.lin(self.final_conv_acts.relu())


model = GCN()
model.conv1.register_forward_hook(lambda module, args, output: activations.update(conv1=output.detach()))
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

losses = []
for _ in range(4):
    optimizer.zero_grad()
    logits = model(data.x, data.edge_index)
    loss = F.cross_entropy(logits[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

acts, grads = model.final_conv_acts, model.final_conv_acts.grad
alphas = grads.mean(dim=0)
cam = F.relu((acts * alphas).sum(dim=-1))
out = {"grads": grads, "cam": cam, "conv1": activations["conv1"]}
