"""GraphSAGE from `torch_geometric.nn.models`, two layers with mean aggregation."""

import torch
import torch.nn.functional as F
from torch_geometric.nn.models import GraphSAGE

data = fg.open(dataset[0])

model = GraphSAGE(
    in_channels=data.num_features,
    hidden_channels=16,
    num_layers=2,
    out_channels=dataset.num_classes,
)
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
with torch.no_grad():
    logits = model(data.x, data.edge_index)
correct = logits.argmax(dim=1).eq(data.y)
out = {
    "logits": logits,
    "train_acc": correct[data.train_mask].double().mean().item(),
    "test_acc": correct[data.test_mask].double().mean().item(),
}
