"""EdgeCNN from `torch_geometric.nn.models` with mean aggregation and layer normalisation."""

import torch
import torch.nn.functional as F
import torch_geometric.nn as gnn

data = fg.open(dataset[0])

model = gnn.EdgeCNN(
    dataset.num_features, hidden_channels=12, num_layers=2, out_channels=dataset.num_classes, norm="LayerNorm"
)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)

losses = []
for _ in range(4):
    optimizer.zero_grad()
    pred = model(data.x, data.edge_index)
    loss = F.cross_entropy(pred[data.train_mask], data.y[data.train_mask])
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
    optimizer.step()
    losses.append(loss.item())
out = pred
