"""A TransformerEncoderLayer over all nodes as one sequence, after a layer of messages."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import SAGEConv

data = fg.open(dataset[0])


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = SAGEConv(6, 16)
        self.layer = torch.nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.lin = torch.nn.Linear(16, 4)

    def forward(self, x, edge_index):
        x = self.conv(x, edge_index).relu()
        return self.lin(self.layer(x.unsqueeze(0)).squeeze(0))


model = Net()
fg.prepare(model, data)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
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
with torch.no_grad():
    out = model(data.x, data.edge_index)
