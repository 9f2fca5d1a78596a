"""Mixed precision of layers whose messages are networks of their own, with the largest of each column."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import EdgeConv, PNAConv
from torch_geometric.utils import degree

tolerance = 3e-2
deg = torch.bincount(degree(dataset[0].edge_index[1], dataset[0].num_nodes, dtype=torch.long))
data = fg.open(dataset[0])
x = data.x.float()


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        mlp = torch.nn.Sequential(torch.nn.Linear(12, 16), torch.nn.ReLU(), torch.nn.Linear(16, 16))
        self.conv1 = EdgeConv(mlp, aggr="max")
        self.conv2 = PNAConv(16, 16, ["mean", "max", "std"], ["identity", "attenuation"], deg)
        self.lin = torch.nn.Linear(16, 4)

    def forward(self, x, edge_index):
        x = self.conv1(x, edge_index).relu()
        return self.lin(self.conv2(x, edge_index).relu())


model = Net().float()
fg.prepare(model, data)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

losses = []
for _ in range(4):
    optimizer.zero_grad()
    with torch.autocast(device_type="cpu", dtype=torch.bfloat16):
        out = model(x, data.edge_index)
        loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

out = out.float()
