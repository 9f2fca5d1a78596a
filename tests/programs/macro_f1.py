"""Macro F1 and accuracy by hand, class by class, with the loss of GraphSAGE over index tensors from the masks."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import SAGEConv

data = fg.open(dataset[0])
train_idx = data.train_mask.nonzero(as_tuple=True)[0]
test_idx = torch.where(data.test_mask)[0]


class SAGE(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = SAGEConv(dataset.num_features, 16, aggr="max")
        self.conv2 = SAGEConv(16, dataset.num_classes, aggr="mean")

    def forward(self, x, edge_index):
        return self.conv2(self.conv1(x, edge_index).relu(), edge_index)


def macro_f1(pred, target, num_classes):
    scores = []
    for c in range(num_classes):
        tp = ((pred == c) & (target == c)).sum().item()
        fp = ((pred == c) & (target != c)).sum().item()
        fn = ((pred != c) & (target == c)).sum().item()
        scores.append(2 * tp / max(2 * tp + fp + fn, 1))
    return sum(scores) / num_classes


model = SAGE()
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.05)

losses = []
for _ in range(4):
    optimizer.zero_grad()
    logits = model(data.x, data.edge_index)
    loss = F.cross_entropy(logits[train_idx], data.y[train_idx])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

pred = logits.argmax(-1)
accuracy = (pred[test_idx] == data.y[test_idx]).double().mean().item()
f1 = macro_f1(pred[test_idx], data.y[test_idx], dataset.num_classes)
out = {"pred": pred, "accuracy": accuracy, "f1": f1, "num_test": test_idx.numel()}
