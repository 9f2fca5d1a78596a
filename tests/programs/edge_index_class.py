"""PyG's EdgeIndex of the opened graph's edges, which would multiply by a matrix of its own."""

import torch
from torch_geometric import EdgeIndex

refused = "would read this rank's rows as if they were all"
data = fg.open(dataset[0])
edge_index = EdgeIndex(data.edge_index, sparse_size=(data.num_nodes, data.num_nodes)).sort_by("row").values
out = edge_index.matmul(torch.ones(60, 2))
