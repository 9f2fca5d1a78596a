"""Monte Carlo dropout: several passes with dropout left on, their mean and their spread."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import GraphSAGE

draws = True
data = fg.open(dataset[0])
model = GraphSAGE(data.num_features, 16, num_layers=2, out_channels=dataset.num_classes, dropout=0.5)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

losses = []
for _ in range(4):
    model.train()
    optimizer.zero_grad()
    logits = model(data.x, data.edge_index)
    loss = F.cross_entropy(logits[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

model.eval()
for module in model.modules():
    if isinstance(module, torch.nn.Dropout):
        module.train()
with torch.no_grad():
    samples = torch.stack([model(data.x, data.edge_index).softmax(dim=-1) for _ in range(5)])
mean = samples.mean(dim=0)
out = {"mean": mean, "std": samples.std(dim=0), "entropy": -(mean * mean.log()).sum(dim=-1)}
