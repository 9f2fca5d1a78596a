"""R-GCN's fast form of two relations, and with blocks, on relations that are computed from labels."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import FastRGCNConv, RGCNConv

data = fg.open(dataset[0])
row, col = data.edge_index
edge_type = (data.y[row] == data.y[col]).long()


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = FastRGCNConv(6, 8, num_relations=2)
        self.conv2 = RGCNConv(8, 8, num_relations=2, num_blocks=2)
        self.conv3 = RGCNConv(8, 4, num_relations=2, num_bases=2, root_weight=False)

    def forward(self, x, edge_index, edge_type):
        x = self.conv1(x, edge_index, edge_type).relu()
        x = self.conv2(x, edge_index, edge_type).relu()
        return self.conv3(x, edge_index, edge_type)


model = Net()
fg.prepare(model, data)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
losses = []
for _ in range(4):
    optimizer.zero_grad()
    out = model(data.x, data.edge_index, edge_type)
    loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
