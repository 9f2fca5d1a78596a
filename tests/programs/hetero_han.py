"""HAN over all relations, with its semantic attention weights."""

import torch
import torch.nn.functional as F
from torch import nn
from torch_geometric.nn import HANConv

data = fg.open(dataset[0])


class HAN(nn.Module):
    def __init__(self, in_channels, out_channels, hidden_channels=16, heads=4):
        super().__init__()
        self.han_conv = HANConv(in_channels, hidden_channels, heads=heads, dropout=0.0, metadata=data.metadata())
        self.lin = nn.Linear(hidden_channels, out_channels)

    def forward(self, x_dict, edge_index_dict):
        out, weights = self.han_conv(x_dict, edge_index_dict, return_semantic_attention_weights=True)
        return self.lin(out["paper"]), weights


model = HAN(in_channels=data.num_node_features, out_channels=dataset.num_classes)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.005, weight_decay=0.001)


def train() -> float:
    model.train()
    optimizer.zero_grad()
    out, _ = model(data.x_dict, data.edge_index_dict)
    mask = data["paper"].train_mask
    loss = F.cross_entropy(out[mask], data["paper"].y[mask])
    loss.backward()
    optimizer.step()
    return loss.item()


losses = [train() for _ in range(4)]
logits, weights = model(data.x_dict, data.edge_index_dict)
out = {"logits": logits, "semantic attention": weights}
