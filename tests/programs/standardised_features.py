"""Features are standardised in the script before training."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import GCN

data = fg.open(dataset[0])
data.x = (data.x - data.x.mean(0)) / data.x.std(0)

model = GCN(data.num_features, 16, num_layers=2, out_channels=dataset.num_classes)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

losses = []
for _ in range(4):
    optimizer.zero_grad()
    out = model(data.x, data.edge_index)
    loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

out = {"x": data.x, "logits": out}
