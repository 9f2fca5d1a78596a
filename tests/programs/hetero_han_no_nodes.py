"""HAN on a graph one of whose types has no nodes."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import HANConv

graph = dataset[0]
graph["award"].x = torch.zeros(0, 3)
graph["award", "given", "paper"].edge_index = torch.zeros(2, 0, dtype=torch.long)
graph["paper", "won", "award"].edge_index = torch.zeros(2, 0, dtype=torch.long)
data = fg.open(graph)


class HAN(torch.nn.Module):
    def __init__(self):
        super().__init__()
        sizes = {kind: x.size(-1) for kind, x in data.x_dict.items()}
        self.han = HANConv(sizes, 16, data.metadata(), heads=4, dropout=0.0)
        self.lin = torch.nn.Linear(16, 4)

    def forward(self, x_dict, edge_index_dict):
        return self.lin(self.han(x_dict, edge_index_dict)["paper"])


model = HAN()
fg.prepare(model, data)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
losses = []
for _ in range(4):
    optimizer.zero_grad()
    out = model(data.x_dict, data.edge_index_dict)
    mask = data["paper"].train_mask
    loss = F.cross_entropy(out[mask], data["paper"].y[mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
