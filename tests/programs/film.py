"""GNN-FiLM with two relations and batch normalisation, for several labels at once."""

import torch
from torch.nn import BatchNorm1d
from torch_geometric.nn import FiLMConv

data = fg.open(dataset[0])
y = (data.pos > 0).to(data.x.dtype)
edge_type = (data.edge_weight > 1).long()


class Net(torch.nn.Module):
    def __init__(self, in_channels, hidden_channels, out_channels, num_layers):
        super().__init__()
        self.convs = torch.nn.ModuleList()
        self.convs.append(FiLMConv(in_channels, hidden_channels, num_relations=2))
        for _ in range(num_layers - 2):
            self.convs.append(FiLMConv(hidden_channels, hidden_channels, num_relations=2))
        self.convs.append(FiLMConv(hidden_channels, out_channels, num_relations=2, act=None))
        self.norms = torch.nn.ModuleList([BatchNorm1d(hidden_channels) for _ in range(num_layers - 1)])

    def forward(self, x, edge_index, edge_type):
        for conv, norm in zip(self.convs[:-1], self.norms, strict=True):
            x = norm(conv(x, edge_index, edge_type))
        return self.convs[-1](x, edge_index, edge_type)


model = Net(dataset.num_features, 12, y.size(1), num_layers=3)
fg.prepare(model, data)
criterion = torch.nn.BCEWithLogitsLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

losses = []
for _ in range(4):
    model.train()
    optimizer.zero_grad()
    loss = criterion(model(data.x, data.edge_index, edge_type)[data.train_mask], y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

model.eval()
with torch.no_grad():
    logits = model(data.x, data.edge_index, edge_type)
pred = (logits > 0)[data.test_mask]
true = y[data.test_mask] > 0.5
f1 = 2 * (pred & true).sum() / (pred.sum() + true.sum())
out = {"logits": logits, "micro_f1": f1}
