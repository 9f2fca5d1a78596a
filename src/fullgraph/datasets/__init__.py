"""Graphs by name or file, from PyG, OGB, files or a seed; knows whole graphs, never ranks or parts."""
