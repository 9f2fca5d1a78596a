"""APPNP: an MLP whose predictions are propagated by personalised PageRank."""

import torch
import torch.nn.functional as F
from torch.nn import Linear
from torch_geometric.nn import APPNP

data = fg.open(dataset[0])


class Net(torch.nn.Module):
    def __init__(self, dataset, hidden=16, K=5, alpha=0.1):
        super().__init__()
        self.lin1 = Linear(dataset.num_features, hidden)
        self.lin2 = Linear(hidden, dataset.num_classes)
        self.prop1 = APPNP(K, alpha)

    def reset_parameters(self):
        self.lin1.reset_parameters()
        self.lin2.reset_parameters()

    def forward(self, data):
        x, edge_index = data.x, data.edge_index
        x = F.relu(self.lin1(x))
        x = self.lin2(x)
        x = self.prop1(x, edge_index)
        return F.log_softmax(x, dim=1)


model = Net(dataset)
model.reset_parameters()
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=0.0005)


def train(model, optimizer, data):
    model.train()
    optimizer.zero_grad()
    out = model(data)
    loss = F.nll_loss(out[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    return loss.item()


def evaluate(model, data):
    model.eval()
    with torch.no_grad():
        logits = model(data)
    outs = {}
    for key in ["train", "val", "test"]:
        mask = data[f"{key}_mask"]
        outs[f"{key}_loss"] = F.nll_loss(logits[mask], data.y[mask]).item()
        outs[f"{key}_acc"] = logits[mask].max(1)[1].eq(data.y[mask]).sum().item() / mask.sum().item()
    return outs


losses = [train(model, optimizer, data) for _ in range(4)]
out = evaluate(model, data)
out["probs"] = model(data).exp()
