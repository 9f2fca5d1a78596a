"""OGB's GraphSAGE on a graph that went through ToSparseTensor: layers take ``adj_t``."""

import torch
import torch.nn.functional as F
import torch_geometric.transforms as T
from torch_geometric.nn import GCNConv, SAGEConv

graph = dataset[0]
del graph.edge_weight, graph.edge_attr
data = fg.open(T.Compose([T.RemoveSelfLoops(), T.ToSparseTensor()])(graph))
train_idx = data.train_mask.nonzero(as_tuple=True)[0]


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.convs = torch.nn.ModuleList([SAGEConv(6, 16), GCNConv(16, 16), SAGEConv(16, 4)])

    def reset_parameters(self):
        for conv in self.convs:
            conv.reset_parameters()

    def forward(self, x, adj_t):
        for conv in self.convs[:-1]:
            x = F.relu(conv(x, adj_t))
        return torch.log_softmax(self.convs[-1](x, adj_t), dim=-1)


model = Net()
fg.prepare(model, data)
model.reset_parameters()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
losses = []
for _ in range(4):
    model.train()
    optimizer.zero_grad()
    out = model(data.x, data.adj_t)[train_idx]
    loss = F.nll_loss(out, data.y[train_idx])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

out = model(data.x, data.adj_t)
