"""Crystal graph convolutions (CGConv) with batch normalisation and edge attributes."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import CGConv

data = fg.open(dataset[0])


class CGCNN(torch.nn.Module):
    def __init__(self, node_dim, edge_dim, hidden, out_dim, num_layers=2):
        super().__init__()
        self.embed = torch.nn.Linear(node_dim, hidden)
        self.convs = torch.nn.ModuleList(
            [CGConv(hidden, dim=edge_dim, aggr="mean", batch_norm=True) for _ in range(num_layers)]
        )
        self.lin = torch.nn.Linear(hidden, out_dim)

    def forward(self, x, edge_index, edge_attr):
        x = self.embed(x)
        for conv in self.convs:
            x = F.softplus(conv(x, edge_index, edge_attr))
        return self.lin(x)


model = CGCNN(data.num_node_features, data.num_edge_features, 12, dataset.num_classes)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
mask = data.train_mask

losses = []
for _ in range(4):
    model.train()
    optimizer.zero_grad()
    loss = F.cross_entropy(model(data.x, data.edge_index, data.edge_attr)[mask], data.y[mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

model.eval()
out = model(data.x, data.edge_index, data.edge_attr)
