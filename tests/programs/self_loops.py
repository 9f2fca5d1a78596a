"""Self-loops are removed and added again in the script, before a convolution that adds none itself."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import GCNConv
from torch_geometric.utils import add_self_loops, contains_self_loops, remove_self_loops

data = fg.open(dataset[0])
edge_index, _ = remove_self_loops(data.edge_index)
edge_index, _ = add_self_loops(edge_index, num_nodes=data.num_nodes)


class GCN(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = GCNConv(dataset.num_features, 16, add_self_loops=False)
        self.conv2 = GCNConv(16, dataset.num_classes, add_self_loops=False)

    def forward(self, x, edge_index):
        x = F.relu(self.conv1(x, edge_index))
        return self.conv2(x, edge_index)


model = GCN()
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

out = {"logits": logits, "num_edges": edge_index.size(1), "had loops": int(contains_self_loops(data.edge_index))}
