"""Labels outside the training mask are set to -100, and the loss is taken over all rows."""

import torch
from torch_geometric.nn import GATConv

data = fg.open(dataset[0])
target = data.y.clone()
target[~data.train_mask] = -100


class GAT(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = GATConv(dataset.num_features, 4, heads=2)
        self.conv2 = GATConv(8, dataset.num_classes, heads=1, concat=False)

    def forward(self, x, edge_index):
        x = torch.nn.functional.elu(self.conv1(x, edge_index))
        return self.conv2(x, edge_index)


model = GAT()
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
criterion = torch.nn.CrossEntropyLoss(ignore_index=-100)

losses = []
for _ in range(1, 5):
    optimizer.zero_grad()
    out = model(data.x, data.edge_index)
    loss = criterion(out, target)
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
