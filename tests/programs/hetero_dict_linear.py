"""HeteroDictLinear as encoder, then bipartite GraphConv layers by hand for each relation."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import GraphConv, HeteroDictLinear

data = fg.open(dataset[0])


class Net(torch.nn.Module):
    def __init__(self, hidden, num_classes):
        super().__init__()
        self.encoder = HeteroDictLinear(-1, hidden, types=data.node_types)
        self.convs = torch.nn.ModuleDict()
        for edge_type in data.edge_types:
            self.convs["__".join(edge_type)] = GraphConv((hidden, hidden), hidden, aggr="mean")
        self.decoder = HeteroDictLinear(hidden, num_classes, types=data.node_types)

    def forward(self, x_dict, edge_index_dict):
        x_dict = {key: x.tanh() for key, x in self.encoder(x_dict).items()}
        out_dict = {key: [x] for key, x in x_dict.items()}
        for edge_type, edge_index in edge_index_dict.items():
            src, _, dst = edge_type
            out_dict[dst].append(self.convs["__".join(edge_type)]((x_dict[src], x_dict[dst]), edge_index))
        x_dict = {key: torch.stack(xs).mean(dim=0).relu() for key, xs in out_dict.items()}
        return self.decoder(x_dict)


model = Net(16, dataset.num_classes)
fg.prepare(model, data)

with torch.no_grad():
    model(data.x_dict, data.edge_index_dict)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

losses = []
for _ in range(4):
    model.train()
    optimizer.zero_grad()
    logits = model(data.x_dict, data.edge_index_dict)["paper"]
    mask = data["paper"]["train_mask"]
    loss = F.cross_entropy(logits[mask], data["paper"]["y"][mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
out = model(data.x_dict, data.edge_index_dict)
