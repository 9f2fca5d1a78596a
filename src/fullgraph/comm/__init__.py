"""Ranks: who takes part, who needs which rows of whom, and moving them."""

from fullgraph.comm.allocator import return_free_pages
from fullgraph.comm.exchange import Returns, Routes, fetch, fetch_all, return_all, swap
from fullgraph.comm.schedule import Round, ring_schedule
from fullgraph.comm.world import Traffic, World, init

__all__ = [
    "Returns",
    "Round",
    "Routes",
    "Traffic",
    "World",
    "fetch",
    "fetch_all",
    "init",
    "return_all",
    "return_free_pages",
    "ring_schedule",
    "swap",
]
