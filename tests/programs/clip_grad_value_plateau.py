"""Gradients clipped by value, and ReduceLROnPlateau and early stopping on the validation loss."""

import copy

import torch
import torch.nn.functional as F
from torch_geometric.nn import GraphConv

data = fg.open(dataset[0])


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = GraphConv(dataset.num_features, 16)
        self.conv2 = GraphConv(16, dataset.num_classes)

    def forward(self, x, edge_index):
        return self.conv2(F.relu(self.conv1(x, edge_index)), edge_index)


model = Net()
fg.prepare(model, data)
optimizer = torch.optim.SGD(model.parameters(), lr=2.0)
scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="min", factor=0.3, patience=0)

losses, val_losses, lrs = [], [], []
best_val, best_state = float("inf"), None
for _ in range(4):
    model.train()
    optimizer.zero_grad()
    loss = F.cross_entropy(model(data.x, data.edge_index)[data.train_mask], data.y[data.train_mask])
    loss.backward()
    torch.nn.utils.clip_grad_value_(model.parameters(), clip_value=0.1)
    optimizer.step()
    losses.append(loss.item())

    model.eval()
    with torch.no_grad():
        out = model(data.x, data.edge_index)
        val_loss = F.cross_entropy(out[data.val_mask], data.y[data.val_mask])
    scheduler.step(val_loss)
    if val_loss < best_val:
        best_val, best_state = val_loss.item(), copy.deepcopy(model.state_dict())
    val_losses.append(val_loss.item())
    lrs.append(optimizer.param_groups[0]["lr"])

model.load_state_dict(best_state)
with torch.no_grad():
    out = {"logits": model(data.x, data.edge_index), "val_losses": val_losses, "lrs": lrs, "best": best_val}
