"""R-GCN with basis decomposition over edge types that are computed from the edges."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import RGCNConv

data = fg.open(dataset[0])
edge_type = (data.edge_index[0] + data.edge_index[1]) % 3


class RGCN(torch.nn.Module):
    def __init__(self, in_channels, hidden_channels, out_channels, num_relations):
        super().__init__()
        self.conv1 = RGCNConv(in_channels, hidden_channels, num_relations, num_bases=2)
        self.conv2 = RGCNConv(hidden_channels, out_channels, num_relations, num_blocks=2, aggr="add")

    def forward(self, x, edge_index, edge_type):
        x = self.conv1(x, edge_index, edge_type).relu()
        x = self.conv2(x, edge_index, edge_type)
        return x.log_softmax(dim=-1)


model = RGCN(data.num_features, 16, dataset.num_classes, num_relations=3)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=0.0005)
train_idx = data.train_mask.nonzero().view(-1)
test_idx = data.test_mask.nonzero().view(-1)


def train():
    model.train()
    optimizer.zero_grad()
    out = model(data.x, data.edge_index, edge_type)
    loss = F.nll_loss(out[train_idx], data.y[train_idx])
    loss.backward()
    optimizer.step()
    return float(loss.detach())


@torch.no_grad()
def test():
    model.eval()
    pred = model(data.x, data.edge_index, edge_type).argmax(dim=-1)
    train_acc = float((pred[train_idx] == data.y[train_idx]).double().mean())
    test_acc = float((pred[test_idx] == data.y[test_idx]).double().mean())
    return train_acc, test_acc


losses = [train() for _ in range(4)]
out = {"log_probs": model(data.x, data.edge_index, edge_type), "acc": test(), "edges": torch.bincount(edge_type)}
