"""Several labels per node with BCEWithLogitsLoss, as in PyG's PPI example; micro F1 by hand."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import GCNConv

data = fg.open(dataset[0])
class_labels = F.one_hot(data.y, dataset.num_classes)
sign_labels = (data.x[:, :2] > 0).long()
target = torch.cat([class_labels, sign_labels], dim=-1).to(data.x.dtype)


class Net(torch.nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.conv1 = GCNConv(in_channels, 16)
        self.lin1 = torch.nn.Linear(in_channels, 16)
        self.conv2 = GCNConv(16, out_channels)
        self.lin2 = torch.nn.Linear(16, out_channels)

    def forward(self, x, edge_index):
        x = F.elu(self.conv1(x, edge_index) + self.lin1(x))
        return self.conv2(x, edge_index) + self.lin2(x)


model = Net(dataset.num_features, target.size(1))
fg.prepare(model, data)
loss_op = torch.nn.BCEWithLogitsLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.005)

losses = []
for _ in range(4):
    model.train()
    optimizer.zero_grad()
    logits = model(data.x, data.edge_index)
    loss = loss_op(logits[data.train_mask], target[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

model.eval()
with torch.no_grad():
    logits = model(data.x, data.edge_index)
pred, true = logits[data.test_mask] > 0, target[data.test_mask] > 0
tp = (pred & true).sum().item()
micro_f1 = 2 * tp / max(pred.sum().item() + true.sum().item(), 1)
out = {"logits": logits, "micro_f1": micro_f1}
