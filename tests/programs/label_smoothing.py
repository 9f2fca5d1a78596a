"""Label smoothing in training and plain cross entropy on the validation nodes, with PyG's own GraphSAGE."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import GraphSAGE

data = fg.open(dataset[0])
model = GraphSAGE(dataset.num_features, hidden_channels=16, num_layers=2, out_channels=dataset.num_classes)
fg.prepare(model, data)
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)


def train():
    model.train()
    optimizer.zero_grad()
    out = model(data.x, data.edge_index)
    loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask], label_smoothing=0.1)
    loss.backward()
    optimizer.step()
    return loss.item()


@torch.no_grad()
def validate():
    model.eval()
    out = model(data.x, data.edge_index)
    return F.cross_entropy(out[data.val_mask], data.y[data.val_mask]).item()


losses, val_losses = [], []
for _ in range(4):
    losses.append(train())
    val_losses.append(validate())

with torch.no_grad():
    out = {"logits": model(data.x, data.edge_index), "val": val_losses}
