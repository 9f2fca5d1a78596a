"""HeteroConv that wraps SAGE, GAT and GraphConv layers by relation."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import GATConv, GraphConv, HeteroConv, Linear, SAGEConv

data = fg.open(dataset[0])


class HeteroGNN(torch.nn.Module):
    def __init__(self, sizes, hidden_channels, out_channels, num_layers):
        super().__init__()
        self.convs = torch.nn.ModuleList()
        for _ in range(num_layers):
            paper, author, venue = sizes["paper"], sizes["author"], sizes["venue"]
            conv = HeteroConv(
                {
                    ("author", "writes", "paper"): SAGEConv((author, paper), hidden_channels),
                    ("paper", "rev_writes", "author"): GATConv((paper, author), hidden_channels, add_self_loops=False),
                    ("paper", "cites", "paper"): GATConv(paper, hidden_channels // 2, heads=2),
                    ("paper", "appears", "venue"): SAGEConv((paper, venue), hidden_channels, aggr="max"),
                    ("venue", "rev_appears", "paper"): GraphConv((venue, paper), hidden_channels),
                },
                aggr="sum",
            )
            self.convs.append(conv)
            sizes = dict.fromkeys(sizes, hidden_channels)
        self.lin = Linear(hidden_channels, out_channels)

    def forward(self, x_dict, edge_index_dict):
        for conv in self.convs:
            x_dict = conv(x_dict, edge_index_dict)
            x_dict = {key: F.leaky_relu(x) for key, x in x_dict.items()}
        return self.lin(x_dict["paper"])


model = HeteroGNN(data.num_node_features, hidden_channels=16, out_channels=dataset.num_classes, num_layers=2)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.005, weight_decay=0.001)

losses = []
for _ in range(4):
    model.train()
    optimizer.zero_grad()
    out = model(data.x_dict, data.edge_index_dict)
    mask = data["paper"].train_mask
    loss = F.cross_entropy(out[mask], data["paper"].y[mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
out = model(data.x_dict, data.edge_index_dict)
