"""Dir-GNN around GAT layers: separate attention over in- and out-neighbours."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import DirGNNConv, GATConv

data = fg.open(dataset[0])
# Keep one direction of each edge, so that the graph is directed:
edge_index = data.edge_index[:, data.edge_index[0] < data.edge_index[1]]


class DirGAT(torch.nn.Module):
    def __init__(self, in_channels, hidden_channels, out_channels, alpha=0.5):
        super().__init__()
        self.conv1 = DirGNNConv(GATConv(in_channels, hidden_channels), alpha)
        self.conv2 = DirGNNConv(GATConv(hidden_channels, out_channels), alpha)

    def forward(self, x, edge_index):
        x = F.elu(self.conv1(x, edge_index))
        return self.conv2(x, edge_index)


model = DirGAT(dataset.num_features, 12, dataset.num_classes)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

losses = []
for _ in range(4):
    optimizer.zero_grad()
    logits = model(data.x, edge_index)
    loss = F.cross_entropy(logits[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
out = {"logits": logits, "num_edges": edge_index.size(1)}
