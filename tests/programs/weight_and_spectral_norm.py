"""Weight norm and spectral norm as parametrizations of linear layers around a convolution."""

import torch
import torch.nn.functional as F
from torch.nn.utils.parametrizations import spectral_norm, weight_norm
from torch_geometric.nn import GCNConv

data = fg.open(dataset[0])


class Net(torch.nn.Module):
    def __init__(self, in_channels, hidden_channels, out_channels):
        super().__init__()
        self.lin1 = weight_norm(torch.nn.Linear(in_channels, hidden_channels))
        self.conv = GCNConv(hidden_channels, hidden_channels)
        self.lin2 = spectral_norm(torch.nn.Linear(hidden_channels, out_channels))

    def forward(self, x, edge_index):
        x = F.relu(self.lin1(x))
        x = F.relu(self.conv(x, edge_index))
        return self.lin2(x)


model = Net(dataset.num_features, 16, dataset.num_classes)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

losses = []
for _ in range(4):
    model.train()
    optimizer.zero_grad()
    out = model(data.x, data.edge_index)
    loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

model.eval()
out = model(data.x, data.edge_index)
