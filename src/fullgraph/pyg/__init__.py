"""PyTorch Geometric on a partitioned graph: opening it as `Data`, and making unmodified models exact on it."""
