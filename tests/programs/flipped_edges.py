"""Directed edges and the reversed ones, flipped in both of the usual spellings, as in Dir-GNN."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import SAGEConv

data = fg.open(dataset[0])
edge_index = data.edge_index[:, data.edge_index[0] <= data.edge_index[1]]
edge_index_t = edge_index.flip(0)


class DirSage(torch.nn.Module):
    def __init__(self, in_channels, out_channels, alpha=0.5):
        super().__init__()
        self.conv_src_to_dst = SAGEConv(in_channels, out_channels, root_weight=False)
        self.conv_dst_to_src = SAGEConv(in_channels, out_channels, root_weight=False)
        self.lin_self = torch.nn.Linear(in_channels, out_channels)
        self.alpha = alpha

    def forward(self, x, edge_index, edge_index_t):
        out = (1 - self.alpha) * self.conv_src_to_dst(x, edge_index)
        return self.lin_self(x) + out + self.alpha * self.conv_dst_to_src(x, edge_index_t)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer1 = DirSage(dataset.num_features, 16)
        self.layer2 = DirSage(16, dataset.num_classes)

    def forward(self, x):
        x = F.relu(self.layer1(x, edge_index, edge_index_t))
        return self.layer2(x, edge_index, edge_index[[1, 0]])


model = Net()
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

losses = []
for _ in range(4):
    optimizer.zero_grad()
    out = model(data.x)
    loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
