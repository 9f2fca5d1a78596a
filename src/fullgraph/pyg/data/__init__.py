"""What `fullgraph.open` gives: nodes' rows, ``edge_index`` and ``adj_t`` of the whole graph, and the edges behind."""
