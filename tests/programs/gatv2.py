"""GATv2 with edge features; the attention weights of the last layer are kept."""

import torch
from torch import nn
from torch_geometric.nn import GATv2Conv

data = fg.open(dataset[0])


class GATv2(nn.Module):
    def __init__(self, dim_in, dim_h, dim_out, heads=4, edge_dim=3):
        super().__init__()
        self.gat1 = GATv2Conv(dim_in, dim_h, heads=heads, edge_dim=edge_dim)
        self.gat2 = GATv2Conv(dim_h * heads, dim_out, heads=1, edge_dim=edge_dim, add_self_loops=False)

    def forward(self, x, edge_index, edge_attr):
        h = nn.functional.elu(self.gat1(x, edge_index, edge_attr))
        return self.gat2(h, edge_index, edge_attr, return_attention_weights=True)


model = GATv2(data.x.size(1), 8, int(data.y.max()) + 1)
fg.prepare(model, data)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.005, weight_decay=0.01)

losses = []
model.train()
for _ in range(4):
    optimizer.zero_grad()
    logits, _ = model(data.x, data.edge_index, data.edge_attr)
    loss = criterion(logits[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

model.eval()
logits, (_, alpha) = model(data.x, data.edge_index, data.edge_attr)
out = {"logits": logits, "attention": alpha, "acc": (logits.argmax(-1) == data.y)[data.test_mask].double().mean()}
