"""GIN by hand: an MLP with BatchNorm1d in each convolution and a trainable epsilon."""

import torch
import torch.nn.functional as F
from torch.nn import BatchNorm1d, Linear, ReLU, Sequential
from torch_geometric.nn import GINConv

data = fg.open(dataset[0])


class GIN(torch.nn.Module):
    def __init__(self, in_channels, dim, out_channels):
        super().__init__()
        self.conv1 = GINConv(
            Sequential(Linear(in_channels, dim), BatchNorm1d(dim), ReLU(), Linear(dim, dim), ReLU()), train_eps=True
        )
        self.conv2 = GINConv(
            Sequential(Linear(dim, dim), BatchNorm1d(dim), ReLU(), Linear(dim, dim), ReLU()), train_eps=True
        )
        self.lin1 = Linear(dim, dim)
        self.lin2 = Linear(dim, out_channels)

    def forward(self, x, edge_index):
        x = self.conv1(x, edge_index)
        x = self.conv2(x, edge_index)
        x = self.lin1(x).relu()
        return self.lin2(x).log_softmax(dim=-1)


model = GIN(dataset.num_features, 16, dataset.num_classes)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
train_idx = data.train_mask.nonzero().view(-1)

losses = []
for _ in range(1, 5):
    model.train()
    optimizer.zero_grad()
    loss = F.nll_loss(model(data.x, data.edge_index)[train_idx], data.y[train_idx])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

model.eval()
with torch.no_grad():
    out = model(data.x, data.edge_index)
