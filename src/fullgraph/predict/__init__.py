"""Exact inference on a whole graph with a trained model."""

from fullgraph.predict.infer import predict

__all__ = ["predict"]
