"""HGTConv with in_channels=-1, initialised by a forward before the model is prepared."""

import torch
from torch import nn
from torch_geometric.nn import HGTConv, Linear

data = fg.open(dataset[0])


class Net(nn.Module):
    def __init__(self, metadata, hidden, num_classes):
        super().__init__()
        self.conv1 = HGTConv(-1, hidden, metadata, heads=4)
        self.conv2 = HGTConv(-1, hidden, metadata, heads=2)
        self.out = Linear(-1, num_classes)

    def forward(self, x_dict, edge_index_dict):
        x_dict = self.conv1(x_dict, edge_index_dict)
        x_dict = self.conv2(x_dict, edge_index_dict)
        return self.out(x_dict["paper"]), x_dict


model = Net(data.metadata(), 16, dataset.num_classes)
with torch.no_grad():
    model(data.x_dict, data.edge_index_dict)
fg.prepare(model, data)

criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
train_mask, y = data["paper"].train_mask, data["paper"].y

losses = []
for _ in range(4):
    optimizer.zero_grad()
    logits, _ = model(data.x_dict, data.edge_index_dict)
    loss = criterion(logits[train_mask], y[train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

logits, h_dict = model(data.x_dict, data.edge_index_dict)
out = {"logits": logits, "embedding": h_dict}
