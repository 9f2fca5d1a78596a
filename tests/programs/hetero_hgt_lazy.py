"""HGT with lazily sized layers, which a first forward without gradients initialises."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import HGTConv, Linear

data = fg.open(dataset[0])


class HGT(torch.nn.Module):
    def __init__(self, hidden_channels, out_channels, num_heads, num_layers):
        super().__init__()
        self.lin_dict = torch.nn.ModuleDict()
        for node_type in data.node_types:
            self.lin_dict[node_type] = Linear(-1, hidden_channels)
        self.convs = torch.nn.ModuleList()
        for _ in range(num_layers):
            self.convs.append(HGTConv(hidden_channels, hidden_channels, data.metadata(), num_heads))
        self.lin = Linear(hidden_channels, out_channels)

    def forward(self, x_dict, edge_index_dict):
        x_dict = {node_type: self.lin_dict[node_type](x).relu_() for node_type, x in x_dict.items()}
        for conv in self.convs:
            x_dict = conv(x_dict, edge_index_dict)
        return self.lin(x_dict["paper"])


model = HGT(hidden_channels=16, out_channels=4, num_heads=2, num_layers=1)
fg.prepare(model, data)

with torch.no_grad():  # Initialize lazy modules.
    out = model(data.x_dict, data.edge_index_dict)

optimizer = torch.optim.Adam(model.parameters(), lr=0.005, weight_decay=0.001)


def train():
    model.train()
    optimizer.zero_grad()
    out = model(data.x_dict, data.edge_index_dict)
    mask = data["paper"].train_mask
    loss = F.cross_entropy(out[mask], data["paper"].y[mask])
    loss.backward()
    optimizer.step()
    return float(loss.detach())


@torch.no_grad()
def test():
    model.eval()
    pred = model(data.x_dict, data.edge_index_dict).argmax(dim=-1)
    accs = []
    for split in ["train_mask", "val_mask", "test_mask"]:
        mask = data["paper"][split]
        accs.append(float((pred[mask] == data["paper"].y[mask]).sum() / mask.sum()))
    return accs


losses = [train() for _ in range(4)]
out = {"accs": test(), "logits": model(data.x_dict, data.edge_index_dict)}
