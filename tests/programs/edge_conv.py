"""EdgeConv (max) on node positions and features together, with an MLP of PyG's."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import MLP, EdgeConv

data = fg.open(dataset[0])


class Net(torch.nn.Module):
    def __init__(self, out_channels, aggr="max"):
        super().__init__()
        self.conv1 = EdgeConv(MLP([2 * (dataset.num_features + 3), 16, 16]), aggr)
        self.conv2 = EdgeConv(MLP([2 * 16, 16]), aggr)
        self.mlp = MLP([32, 16, out_channels], dropout=0.0, norm=None)

    def forward(self, data):
        x0 = torch.cat([data.x, data.pos], dim=-1)
        x1 = self.conv1(x0, data.edge_index)
        x2 = self.conv2(x1, data.edge_index)
        return F.log_softmax(self.mlp(torch.cat([x1, x2], dim=1)), dim=1)


model = Net(dataset.num_classes)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.001)

losses = []
for _ in range(4):
    model.train()
    optimizer.zero_grad()
    out = model(data)
    loss = F.nll_loss(out[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

model.eval()
with torch.no_grad():
    out = model(data)
