"""Full-graph training of PyTorch Geometric models on graphs that one machine cannot hold."""

__version__ = "0.1.0"
