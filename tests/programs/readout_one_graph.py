"""The whole graph is classified: mean over all nodes, with a batch vector of zeros made in the script."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import GCNConv, global_mean_pool

data = fg.open(dataset[0])
batch = torch.zeros(data.num_nodes, dtype=torch.long)
graph_label = torch.tensor([2])


class GraphClassifier(torch.nn.Module):
    def __init__(self, hidden_channels):
        super().__init__()
        self.conv1 = GCNConv(dataset.num_node_features, hidden_channels)
        self.conv2 = GCNConv(hidden_channels, hidden_channels)
        self.lin = torch.nn.Linear(hidden_channels, dataset.num_classes)

    def forward(self, x, edge_index, batch):
        x = self.conv1(x, edge_index).relu()
        x = self.conv2(x, edge_index)
        x = global_mean_pool(x, batch)  # [1, hidden_channels]
        return self.lin(x)


model = GraphClassifier(16)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

losses = []
for _ in range(4):
    optimizer.zero_grad()
    out = model(data.x, data.edge_index, batch)
    loss = F.cross_entropy(out, graph_label)
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
