"""Edge-conditioned convolution (NNConv) followed by a GRU, as in the QM9 example, for node regression."""

import torch
import torch.nn.functional as F
from torch.nn import GRU, Linear, ReLU, Sequential
from torch_geometric.nn import NNConv

data = fg.open(dataset[0])
dim = 6


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.lin0 = Linear(dataset.num_features, dim)
        nn = Sequential(Linear(data.edge_attr.size(1), 16), ReLU(), Linear(16, dim * dim))
        self.conv = NNConv(dim, dim, nn, aggr="mean")
        self.gru = GRU(dim, dim)
        self.lin1 = Linear(dim, 3)

    def forward(self, data):
        out = F.relu(self.lin0(data.x))
        h = out.unsqueeze(0)
        for _ in range(3):
            m = F.relu(self.conv(out, data.edge_index, data.edge_attr))
            out, h = self.gru(m.unsqueeze(0), h)
            out = out.squeeze(0)
        return self.lin1(out)


model = Net()
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.001)

losses = []
for _ in range(4):
    model.train()
    optimizer.zero_grad()
    loss = F.mse_loss(model(data)[data.train_mask], data.pos[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

model.eval()
with torch.no_grad():
    pred = model(data)
out = {"pred": pred, "mae": (pred - data.pos)[data.test_mask].abs().mean()}
