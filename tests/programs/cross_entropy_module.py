"""PyG's introduction colab: nn.CrossEntropyLoss as criterion, and an MLP beside a GCN."""

import torch
from torch.nn import Linear
from torch_geometric.nn import GCNConv

data = fg.open(dataset[0])


class GCN(torch.nn.Module):
    def __init__(self, hidden_channels):
        super().__init__()
        self.conv1 = GCNConv(dataset.num_features, hidden_channels)
        self.conv2 = GCNConv(hidden_channels, hidden_channels)
        self.classifier = Linear(hidden_channels, dataset.num_classes)

    def forward(self, x, edge_index):
        h = self.conv1(x, edge_index)
        h = h.tanh()
        h = self.conv2(h, edge_index)
        h = h.tanh()
        return self.classifier(h), h


model = GCN(hidden_channels=16)
fg.prepare(model, data)
criterion = torch.nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)


def train(data):
    optimizer.zero_grad()
    out, h = model(data.x, data.edge_index)
    loss = criterion(out[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    return loss, h


losses = []
for epoch in range(4):
    loss, h = train(data)
    losses.append(loss.item())
    print(f"Epoch: {epoch}, Loss: {loss}")

pred = model(data.x, data.edge_index)[0].argmax(dim=1)
test_correct = pred[data.test_mask] == data.y[data.test_mask]
out = {"h": h, "test_acc": int(test_correct.sum()) / int(data.test_mask.sum())}
