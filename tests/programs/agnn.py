"""AGNN: one propagation with fixed and one with trainable temperature, as in PyG's example."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import AGNNConv

data = fg.open(dataset[0])


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.lin1 = torch.nn.Linear(dataset.num_features, 16)
        self.prop1 = AGNNConv(requires_grad=False)
        self.prop2 = AGNNConv(requires_grad=True)
        self.lin2 = torch.nn.Linear(16, dataset.num_classes)

    def forward(self):
        x = F.relu(self.lin1(data.x))
        x = self.prop1(x, data.edge_index)
        x = self.prop2(x, data.edge_index)
        x = self.lin2(x)
        return F.log_softmax(x, dim=1)


device = torch.device("cpu")
model, data = Net().to(device), data.to(device)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)


def train():
    model.train()
    optimizer.zero_grad()
    F.nll_loss(model()[data.train_mask], data.y[data.train_mask]).backward()
    optimizer.step()


@torch.no_grad()
def test():
    model.eval()
    logits = model()
    losses.append(F.nll_loss(logits[data.val_mask], data.y[data.val_mask]).item())
    return [int((logits[m].argmax(1) == data.y[m]).sum()) for _, m in data("train_mask", "val_mask", "test_mask")]


losses, correct = [], []
for _ in range(4):
    train()
    correct.append(test())
out = {"correct": correct, "beta": model.prop2.beta, "log_probs": model()}
