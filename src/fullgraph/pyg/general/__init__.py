"""How any layer runs on a partitioned graph, and how it is made to: what the rules of families build on."""
