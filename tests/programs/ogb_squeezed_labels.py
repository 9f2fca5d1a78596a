"""OGB's node property prediction as their example has it: labels of shape [N, 1] and an evaluator by hand."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch_geometric.nn import GCNConv

dataset[0].y = dataset[0].y.view(-1, 1)
data = fg.open(dataset[0])


class GCN(torch.nn.Module):
    def __init__(self, in_channels, hidden_channels, out_channels, num_layers):
        super().__init__()
        sizes = [in_channels] + [hidden_channels] * (num_layers - 1) + [out_channels]
        self.convs = torch.nn.ModuleList(GCNConv(i, o) for i, o in pairwise(sizes))
        self.bns = torch.nn.ModuleList(torch.nn.BatchNorm1d(size) for size in sizes[1:-1])

    def forward(self, x, edge_index):
        for conv, bn in zip(self.convs[:-1], self.bns, strict=True):
            x = F.relu(bn(conv(x, edge_index)))
        return self.convs[-1](x, edge_index).log_softmax(dim=-1)


model = GCN(data.num_features, 16, dataset.num_classes, num_layers=3)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)


def train():
    model.train()
    optimizer.zero_grad()
    out = model(data.x, data.edge_index)[data.train_mask]
    loss = F.nll_loss(out, data.y.squeeze(1)[data.train_mask])
    loss.backward()
    optimizer.step()
    return loss.item()


@torch.no_grad()
def test():
    model.eval()
    out = model(data.x, data.edge_index)
    y_pred = out.argmax(dim=-1, keepdim=True)
    masks = {"train": data.train_mask, "valid": data.val_mask, "test": data.test_mask}
    return out, {name: (y_pred[m] == data.y[m]).sum().item() / m.sum().item() for name, m in masks.items()}


losses = [train() for _ in range(4)]
log_probs, accuracy = test()
out = {"log_probs": log_probs, "accuracy": accuracy}
