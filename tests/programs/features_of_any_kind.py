"""Features that are whole numbers to look up, one number a node, and a small matrix a node."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import GCNConv, SAGEConv

graph = dataset[0]
generator = torch.Generator().manual_seed(1)
graph.images = torch.randn(60, 2, 3, generator=generator).to(graph.x.dtype)
graph.number = graph.x[:, 0].clone()
graph.x = torch.randint(0, 9, (60,), generator=generator)
data = fg.open(graph)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.emb, self.lin = torch.nn.Embedding(9, 8), torch.nn.Linear(3, 8)
        self.conv1, self.conv2 = GCNConv(8, 8), SAGEConv(8, 4)
        self.alone = torch.nn.Linear(1, 8)

    def forward(self, x, number, images, edge_index):
        x = self.emb(x) + self.alone(number.view(-1, 1)) + self.lin(images).sum(1)
        return self.conv2(self.conv1(x, edge_index).tanh(), edge_index)


model = Net()
fg.prepare(model, data)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
losses = []
for _ in range(4):
    optimizer.zero_grad()
    out = model(data.x, data.number, data.images, data.edge_index)
    loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
out = [out, data.x, data.num_features]
