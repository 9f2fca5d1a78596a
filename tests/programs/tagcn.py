"""TAGCN with edge weights and index tensors for the splits."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import TAGConv

data = fg.open(dataset[0])
split_idx = {
    "train": data.train_mask.nonzero(as_tuple=True)[0],
    "valid": data.val_mask.nonzero(as_tuple=True)[0],
    "test": data.test_mask.nonzero(as_tuple=True)[0],
}


class TAGCN(torch.nn.Module):
    def __init__(self, in_channels, hidden_channels, out_channels):
        super().__init__()
        self.conv1 = TAGConv(in_channels, hidden_channels, K=3)
        self.conv2 = TAGConv(hidden_channels, out_channels, K=2)

    def forward(self, x, edge_index, edge_weight=None):
        x = F.relu(self.conv1(x, edge_index, edge_weight))
        return self.conv2(x, edge_index, edge_weight)


model = TAGCN(dataset.num_features, 16, dataset.num_classes)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)


def train(model, data, train_idx, optimizer):
    model.train()
    optimizer.zero_grad()
    out = model(data.x, data.edge_index, data.edge_weight)[train_idx]
    loss = F.cross_entropy(out, data.y[train_idx])
    loss.backward()
    optimizer.step()
    return loss.item()


@torch.no_grad()
def test(model, data, split_idx):
    model.eval()
    y_pred = model(data.x, data.edge_index, data.edge_weight).argmax(dim=-1, keepdim=True)
    y_true = data.y.view(-1, 1)
    return [float((y_pred[idx] == y_true[idx]).double().mean()) for idx in split_idx.values()]


losses = [train(model, data, split_idx["train"], optimizer) for _ in range(4)]
out = {"accs": test(model, data, split_idx), "logits": model(data.x, data.edge_index, data.edge_weight)}
