"""HeteroConv of layers that learn their sizes in the first training step, no forward before it."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import GATConv, HeteroConv, Linear, SAGEConv

data = fg.open(dataset[0])


class HeteroGNN(torch.nn.Module):
    def __init__(self, metadata, hidden_channels, out_channels, num_layers):
        super().__init__()
        self.convs = torch.nn.ModuleList()
        for layer in range(num_layers):
            kinds = {
                edge_type: SAGEConv((-1, -1), hidden_channels)
                if layer % 2
                else GATConv((-1, -1), hidden_channels, add_self_loops=False)
                for edge_type in metadata[1]
            }
            self.convs.append(HeteroConv(kinds, aggr="sum"))
        self.lin = Linear(-1, out_channels)

    def forward(self, x_dict, edge_index_dict):
        for conv in self.convs:
            x_dict = conv(x_dict, edge_index_dict)
            x_dict = {key: F.leaky_relu(x) for key, x in x_dict.items()}
        return self.lin(x_dict["paper"])


model = HeteroGNN(data.metadata(), 8, 4, num_layers=2)
model = fg.prepare(model, data)
losses = []
for _ in range(4):
    out = model(data.x_dict, data.edge_index_dict)
    if not losses:
        optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    optimizer.zero_grad()
    mask = data["paper"].train_mask
    loss = F.cross_entropy(out[mask], data["paper"].y[mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
