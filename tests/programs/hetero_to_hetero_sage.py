"""A homogeneous SAGE network with lazy sizes, made heterogeneous by `to_hetero`."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import SAGEConv, to_hetero

data = fg.open(dataset[0])


class GNN(torch.nn.Module):
    def __init__(self, hidden_channels, out_channels):
        super().__init__()
        self.conv1 = SAGEConv((-1, -1), hidden_channels)
        self.conv2 = SAGEConv((-1, -1), out_channels)

    def forward(self, x, edge_index):
        x = self.conv1(x, edge_index).relu()
        x = self.conv2(x, edge_index)
        return x


model = GNN(hidden_channels=16, out_channels=dataset.num_classes)
model = to_hetero(model, data.metadata(), aggr="sum")
fg.prepare(model, data)

with torch.no_grad():  # Initialize lazy modules.
    out = model(data.x_dict, data.edge_index_dict)

optimizer = torch.optim.Adam(model.parameters(), lr=0.01)


def train():
    model.train()
    optimizer.zero_grad()
    out = model(data.x_dict, data.edge_index_dict)
    mask = data["paper"].train_mask
    loss = F.cross_entropy(out["paper"][mask], data["paper"].y[mask])
    loss.backward()
    optimizer.step()
    return float(loss.detach())


losses = [train() for _ in range(4)]
model.eval()
out = model(data.x_dict, data.edge_index_dict)
