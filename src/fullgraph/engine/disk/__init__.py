"""Rows that stay on disk: how they are read, and what functions of torch mean for them."""
