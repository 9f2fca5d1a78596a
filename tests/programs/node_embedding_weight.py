"""The weight of an nn.Embedding is used whole, and joined with the features."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import SAGEConv

draws = True  # a table with a row per node, drawn by the rows' ids

data = fg.open(dataset[0])


class SAGE(torch.nn.Module):
    def __init__(self, num_nodes, in_channels, hidden_channels, out_channels):
        super().__init__()
        self.node_emb = torch.nn.Embedding(num_nodes, hidden_channels)
        self.conv1 = SAGEConv(in_channels + hidden_channels, hidden_channels)
        self.conv2 = SAGEConv(hidden_channels, out_channels)
        self.reset_parameters()

    def reset_parameters(self):
        torch.nn.init.xavier_uniform_(self.node_emb.weight)
        self.conv1.reset_parameters()
        self.conv2.reset_parameters()

    def forward(self, x, edge_index):
        x = torch.cat([x, self.node_emb.weight], dim=-1)
        x = F.relu(self.conv1(x, edge_index))
        return self.conv2(x, edge_index)


model = SAGE(data.num_nodes, data.num_features, 16, dataset.num_classes)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=1e-3)

losses = []
for _ in range(4):
    optimizer.zero_grad()
    out = model(data.x, data.edge_index)
    loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
