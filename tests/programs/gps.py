"""GPS layers with PyG's multi-head attention over the whole graph and a GINE as local layer."""

import torch
from torch.nn import Linear, ModuleList, ReLU, Sequential
from torch_geometric.nn import GINEConv, GPSConv

data = fg.open(dataset[0])


class GPS(torch.nn.Module):
    def __init__(self, channels, num_layers, out_channels):
        super().__init__()
        self.node_emb = Linear(dataset.num_features, channels)
        self.edge_emb = Linear(3, channels)
        self.convs = ModuleList()
        for _ in range(num_layers):
            nn = Sequential(Linear(channels, channels), ReLU(), Linear(channels, channels))
            self.convs.append(GPSConv(channels, GINEConv(nn), heads=4, attn_type="multihead"))
        self.mlp = Sequential(Linear(channels, channels // 2), ReLU(), Linear(channels // 2, out_channels))

    def forward(self, x, edge_index, edge_attr):
        x = self.node_emb(x)
        edge_attr = self.edge_emb(edge_attr)
        for conv in self.convs:
            x = conv(x, edge_index, edge_attr=edge_attr)
        return self.mlp(x)


model = GPS(channels=16, num_layers=2, out_channels=dataset.num_classes)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.001, weight_decay=1e-5)
criterion = torch.nn.CrossEntropyLoss()

losses = []
for _ in range(4):
    model.train()
    optimizer.zero_grad()
    out = model(data.x, data.edge_index, data.edge_attr)
    loss = criterion(out[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

model.eval()
with torch.no_grad():
    out = model(data.x, data.edge_index, data.edge_attr)
