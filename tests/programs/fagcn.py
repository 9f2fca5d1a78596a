"""FAGCN: FAConv layers with low- and high-frequency signals and initial residual."""

import torch
import torch.nn.functional as F
from torch import nn
from torch_geometric.nn import FAConv

data = fg.open(dataset[0])


class FAGCN(nn.Module):
    def __init__(self, num_features, hidden_channels, num_classes, num_layers=3, eps=0.1):
        super().__init__()
        self.lin1 = nn.Linear(num_features, hidden_channels)
        self.convs = nn.ModuleList([FAConv(hidden_channels, eps, add_self_loops=False) for _ in range(num_layers)])
        self.lin2 = nn.Linear(hidden_channels, num_classes)
        nn.init.xavier_normal_(self.lin1.weight, gain=1.414)
        nn.init.xavier_normal_(self.lin2.weight, gain=1.414)

    def forward(self, x, edge_index):
        x = x_0 = F.relu(self.lin1(x))
        for conv in self.convs:
            x, (_, alpha) = conv(x, x_0, edge_index, return_attention_weights=True)
        return F.log_softmax(self.lin2(x), dim=1), alpha


model = FAGCN(data.num_node_features, 16, dataset.num_classes)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=1e-3)

losses = []
for _ in range(4):
    model.train()
    optimizer.zero_grad()
    log_probs, alpha = model(data.x, data.edge_index)
    loss = F.nll_loss(log_probs[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
out = {"log_probs": log_probs, "negative": float((alpha < 0).sum()) / data.num_edges}
