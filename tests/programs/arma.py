"""ARMA network with shared weights and three stacks."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import ARMAConv

data = fg.open(dataset[0])


class Net(torch.nn.Module):
    def __init__(self, in_channels, hidden_channels, out_channels):
        super().__init__()
        self.conv1 = ARMAConv(in_channels, hidden_channels, num_stacks=3, num_layers=2, shared_weights=True)
        self.conv2 = ARMAConv(
            hidden_channels, out_channels, num_stacks=3, num_layers=2, shared_weights=True, act=lambda x: x
        )

    def forward(self, x, edge_index):
        x = F.relu(self.conv1(x, edge_index))
        x = self.conv2(x, edge_index)
        return F.log_softmax(x, dim=1)


device = torch.device("cpu")
model, data = Net(dataset.num_features, 16, dataset.num_classes).to(device), data.to(device)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)


def train():
    model.train()
    optimizer.zero_grad()
    out = model(data.x, data.edge_index)
    loss = F.nll_loss(out[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    return loss.item()


losses = [train() for _ in range(4)]
model.eval()
out = model(data.x, data.edge_index)
