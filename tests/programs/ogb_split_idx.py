"""OGB's loop with index tensors for the splits, which the data set holds beside the graph."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import SAGEConv

splits = (("train", "train_mask"), ("valid", "val_mask"), ("test", "test_mask"))
split_idx = {name: dataset[0][mask].nonzero().squeeze(1) for name, mask in splits}
data = fg.open(dataset[0])


class SAGE(torch.nn.Module):
    def __init__(self, in_channels, hidden_channels, out_channels):
        super().__init__()
        self.conv1 = SAGEConv(in_channels, hidden_channels)
        self.conv2 = SAGEConv(hidden_channels, out_channels)

    def forward(self, x, edge_index):
        x = F.relu(self.conv1(x, edge_index))
        return torch.log_softmax(self.conv2(x, edge_index), dim=-1)


def train(model, data, train_idx, optimizer):
    model.train()
    optimizer.zero_grad()
    out = model(data.x, data.edge_index)[train_idx]
    loss = F.nll_loss(out, data.y[train_idx])
    loss.backward()
    optimizer.step()
    return loss.item()


@torch.no_grad()
def test(model, data, split_idx):
    model.eval()
    y_pred = model(data.x, data.edge_index).argmax(dim=-1, keepdim=True)
    y_true = data.y.view(-1, 1)
    return [float((y_true[idx] == y_pred[idx]).sum()) / len(idx) for idx in split_idx.values()]


model = SAGE(data.num_features, 16, dataset.num_classes)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
losses = [train(model, data, split_idx["train"], optimizer) for _ in range(4)]
out = {"accuracy": test(model, data, split_idx), "test": model(data.x, data.edge_index)[split_idx["test"]]}
