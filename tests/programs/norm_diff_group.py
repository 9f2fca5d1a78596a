"""DiffGroupNorm in a deeper GCN, with the group distance ratio of the embeddings."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import DiffGroupNorm, GCNConv

data = fg.open(dataset[0])


class Net(torch.nn.Module):
    def __init__(self, hidden, num_layers=4, groups=3):
        super().__init__()
        self.lin1 = torch.nn.Linear(dataset.num_features, hidden)
        self.convs = torch.nn.ModuleList([GCNConv(hidden, hidden) for _ in range(num_layers)])
        self.norms = torch.nn.ModuleList([DiffGroupNorm(hidden, groups, lamda=0.05) for _ in range(num_layers)])
        self.lin2 = torch.nn.Linear(hidden, dataset.num_classes)

    def forward(self, x, edge_index):
        x = self.lin1(x)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = norm(conv(x, edge_index)).relu()
        return self.lin2(x), x


model = Net(8)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)

losses = []
for _ in range(4):
    model.train()
    optimizer.zero_grad()
    logits, _ = model(data.x, data.edge_index)
    loss = F.cross_entropy(logits[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

model.eval()
with torch.no_grad():
    logits, h = model(data.x, data.edge_index)
out = {"logits": logits, "ratio": DiffGroupNorm.group_distance_ratio(h, data.y)}
