"""GCNII: six GCN2Conv layers with initial residual and identity mapping."""

import torch
import torch.nn.functional as F
from torch.nn import Linear
from torch_geometric.nn import GCN2Conv

data = fg.open(dataset[0])


class Net(torch.nn.Module):
    def __init__(self, hidden_channels, num_layers, alpha, theta, shared_weights=True):
        super().__init__()
        self.lins = torch.nn.ModuleList()
        self.lins.append(Linear(dataset.num_features, hidden_channels))
        self.lins.append(Linear(hidden_channels, dataset.num_classes))
        self.convs = torch.nn.ModuleList()
        for layer in range(num_layers):
            self.convs.append(GCN2Conv(hidden_channels, alpha, theta, layer + 1, shared_weights))

    def forward(self, x, edge_index):
        x = x_0 = self.lins[0](x).relu()
        for conv in self.convs:
            x = conv(x, x_0, edge_index).relu()
        return self.lins[1](x).log_softmax(dim=-1)


model = Net(hidden_channels=16, num_layers=6, alpha=0.1, theta=0.5)
fg.prepare(model, data)
optimizer = torch.optim.Adam(
    [
        {"params": model.convs.parameters(), "weight_decay": 0.01},
        {"params": model.lins.parameters(), "weight_decay": 5e-4},
    ],
    lr=0.01,
)


def train():
    model.train()
    optimizer.zero_grad()
    out = model(data.x, data.edge_index)
    loss = F.nll_loss(out[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    return float(loss.detach())


@torch.no_grad()
def test():
    model.eval()
    pred, accs = model(data.x, data.edge_index).argmax(dim=-1), []
    for _, mask in data("train_mask", "val_mask", "test_mask"):
        accs.append(int((pred[mask] == data.y[mask]).sum()) / int(mask.sum()))
    return accs


losses = [train() for _ in range(4)]
out = {"accs": test(), "log_probs": model(data.x, data.edge_index)}
