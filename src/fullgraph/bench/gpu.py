"""Sums, attention layers and epochs on one GPU, beside cuSPARSE and PyG, and where the time of an epoch goes."""

import copy
import gc
import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import torch
import torch_geometric.nn as pyg
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch_geometric.data import Data
from torch_geometric.nn.models import GAT

import fullgraph as fg
from fullgraph import ops
from fullgraph.bench import graphs
from fullgraph.bench.case import Findings, case
from fullgraph.bench.contest import ms, quietly
from fullgraph.bench.machine import card
from fullgraph.bench.training import HEADS, MODELS, step_in
from fullgraph.datasets import load
from fullgraph.errors import InputError
from fullgraph.graph.block import Block
from fullgraph.train.memory import PeakMemory

WIDTHS = (64, 128, 256, 7, 47, 100)
CHANNELS = 32
LAYERS: dict[str, Callable[[int], torch.nn.Module]] = {
    "GATConv": lambda width: pyg.GATConv(width, CHANNELS, heads=HEADS),
    "GATv2Conv": lambda width: pyg.GATv2Conv(width, CHANNELS, heads=HEADS),
    "TransformerConv": lambda width: pyg.TransformerConv(width, CHANNELS, heads=HEADS),
}
EPOCHS = MODELS | {"GATv2": partial(GAT, v2=True, heads=HEADS, norm="batch_norm")}
TOLERANCE = 1e-4


@dataclass(frozen=True, kw_only=True)
class Size:
    """What is measured: graphs of so many nodes and edges, the source of the one that is trained, widths, turns."""

    uniform: tuple[int, int]
    power_law: tuple[int, int]
    products: tuple[int, int]
    source: str
    widths: tuple[int, ...]
    hidden: Mapping[str, int]
    repeats: int


FULL = Size(
    uniform=(200_000, 10_000_000),
    power_law=(1_000_000, 20_000_000),
    products=graphs.PRODUCTS,
    source="synthetic-large",
    widths=WIDTHS,
    hidden={"SAGE": 256, "GCN": 256, "GAT": 128, "GATv2": 128},
    repeats=7,
)
QUICK = Size(
    uniform=(200, 2_000),
    power_law=(300, 3_000),
    products=(500, 5_000),
    source="synthetic-tiny",
    widths=(7, 16),
    hidden=dict.fromkeys(EPOCHS, 16),
    repeats=2,
)


@case("On a GPU, beside PyG", FULL, QUICK)  # pyright: ignore[reportArgumentType]
def run(found: Findings) -> None:
    """One process on {card}. Times are medians of {repeats} interleaved turns after one that does not count; memory
    is torch's allocator's peak above what was there before.

    *Sums*: `fullgraph.ops.spmm` beside `adjacency @ x` (cuSPARSE); the error is that of float32 against cuSPARSE, of
    the largest number. *Layers*: {width} features to {heads} heads of {channels} channels, forward and backward, on the
    uniform graph. *Epochs*: three layers with batch norm, forward, backward and Adam, on {source}; *busy* is the share
    of an epoch in which the GPU runs a kernel. *bf16-mixed* is `torch.autocast`. Uniform: {uniform}; power law:
    {power_law}; one hub: the uniform graph with a tenth of its edges into one node; products-shaped: a power law of
    {products}, SAGE of width {hidden}.
    """
    size: Size = found.size
    device = _device(found)
    found.facts.update(
        card=card(device),
        repeats=size.repeats,
        width=HEADS * CHANNELS,
        heads=HEADS,
        channels=CHANNELS,
        source=size.source,
        hidden=size.hidden["SAGE"],
        **{
            name: "{:,} nodes, {:,} edges".format(*getattr(size, name)) for name in ("uniform", "power_law", "products")
        },
    )
    _sums(found, size, device)
    uniform = graphs.drawn(*size.uniform, device)
    _layers(found, size, uniform, device)
    _epochs(found, size, device)
    _products(found, size, device)


def _device(found: Findings) -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    if found.quick:
        return torch.device("cpu")
    raise InputError(
        "the benchmark gpu needs a GPU that torch sees (with --quick it runs anywhere and measures nothing)"
    )


def _seconds(contenders: Mapping[str, Callable[[], Any]], repeats: int, device: torch.device) -> dict[str, float]:
    """The median of each contender's turns, by the GPU's own clock where there is one."""
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(repeats + 1):
        for name, work in contenders.items():
            if device.type == "cuda":
                begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                torch.cuda.synchronize(device)
                begin.record()
                work()
                end.record()
                end.synchronize()
                seconds = begin.elapsed_time(end) / 1e3
            else:
                start = time.perf_counter()
                work()
                seconds = time.perf_counter() - start
            if turn:
                taken[name].append(seconds)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def _sums(found: Findings, size: Size, device: torch.device) -> None:
    table, worst, hubs = found.table("Sums"), 0.0, {}
    drawings = {
        "uniform": partial(graphs.drawn, *size.uniform, device),
        "one hub": partial(graphs.drawn, *size.uniform, device, hub=True),
        "power law": partial(graphs.drawn, *size.power_law, device, power_law=True),
        size.source: lambda: graphs.edge_index_of(load(size.source)).to(device),
    }
    for label, drawing in drawings.items():
        edge_index = drawing()
        num_nodes = int(edge_index.max()) + 1
        block = graphs.square_block(edge_index, num_nodes)
        adjacency = graphs.adjacency(block, torch.ones(block.num_edges, device=device))
        for width in size.widths:
            x = torch.randn(num_nodes, width, device=device)
            out, half = torch.empty_like(x), x.bfloat16()
            out_half = torch.empty_like(half)
            contenders = {
                "cuSPARSE": partial(torch.matmul, adjacency, x),
                "float32": partial(_sum, block, x, out),
                "bfloat16": partial(_sum, block, half, out_half),
            }
            with quietly():
                expected = adjacency @ x
                seconds = _seconds(contenders, size.repeats, device)
            error = float((out - expected).abs().max() / expected.abs().max())
            worst = max(worst, error)
            hubs[label, width] = seconds["float32"]
            table.add(
                {
                    "graph": label,
                    "width": width,
                    **{f"{name}, ms": ms(taken) for name, taken in seconds.items()},
                    "ratio": f"{seconds['cuSPARSE'] / seconds['float32']:.2f}",
                    "of bfloat16": f"{seconds['cuSPARSE'] / seconds['bfloat16']:.2f}",
                    "largest error": f"{error:.1e}",
                }
            )
    found.verdict(worst <= TOLERANCE, f"sums differ from cuSPARSE's by at most {worst:.1e} of the largest")
    ratio = max(hubs["one hub", width] / hubs["uniform", width] for width in size.widths)
    found.demand(ratio <= 1.3, f"a hub with a tenth of the edges costs at most 1.3 × the graph without: {ratio:.2f}")


def _sum(block: Block, x: Tensor, out: Tensor) -> None:
    ops.spmm(block.indptr, block.indices, x, out, overwrites=True)


def _layers(found: Findings, size: Size, edge_index: Tensor, device: torch.device) -> None:
    table, worst = found.table("Attention layers, forward and backward"), 0.0
    width, num_nodes = HEADS * CHANNELS, size.uniform[0]
    x = torch.randn(num_nodes, width, generator=torch.Generator().manual_seed(0))
    data = fg.open(Data(x=x, edge_index=edge_index.cpu()), fg.init(device=device))
    for name, layer in LAYERS.items():
        torch.manual_seed(0)
        plain = layer(width).to(device)
        own, compiled = copy.deepcopy(plain), copy.deepcopy(plain)
        if not found.quick:  # it takes longer than all the rest
            compiled.compile()
        fg.prepare(own, data)
        given = x.to(device)
        contenders = {
            "fullgraph": partial(_trained, own, data.x, data.edge_index),
            "PyG": partial(_trained, plain, given, edge_index),
            "PyG compiled": partial(_trained, compiled, given, edge_index),
        }
        peaks = {}
        for who, work in contenders.items():
            work()
            memory = PeakMemory(device)
            work()
            peaks[who] = memory.growth()
        got, want = (torch.cat([p.grad.flatten() for p in one.parameters()]) for one in (own, plain))  # pyright: ignore[reportOptionalMemberAccess]
        error = float((got - want).abs().max() / want.abs().max())
        worst = max(worst, error)
        seconds = _seconds(contenders, size.repeats, device)
        table.add(
            {
                "layer": name,
                **{f"{who}, ms": ms(taken) for who, taken in seconds.items()},
                "beside PyG": f"{seconds['PyG'] / seconds['fullgraph']:.1f}",
                "beside compiled": f"{seconds['PyG compiled'] / seconds['fullgraph']:.1f}",
                **{f"{who}, MiB": f"{peak / 2**20:.0f}" for who, peak in peaks.items()},
                "largest error": f"{error:.1e}",
            }
        )
    found.verdict(worst <= 1e-3, f"gradients of layers differ from PyG's by at most {worst:.1e} of the largest")


def _trained(layer: torch.nn.Module, x: Tensor, edge_index: Any) -> None:
    layer.zero_grad()
    layer(x, edge_index).square().mean().backward()


def _epochs(found: Findings, size: Size, device: torch.device) -> None:
    table, graph = found.table("Epochs"), graphs.pyg_data(load(size.source))
    losses: dict[tuple[str, str], list[float]] = {}
    cells: dict[tuple[str, str], tuple[float, float, str]] = {}
    for ways in (("fullgraph", "bf16-mixed"), ("PyG",)):  # one graph on the card at a time
        data: Any = graph.to(device) if ways == ("PyG",) else fg.open(graph.cpu(), fg.init(device=device))
        for (name, model), way in product(EPOCHS.items(), ways):
            step = step_in(way, model, data, size.hidden[name])
            try:
                losses[name, way], cells[name, way] = _watched(step, size.repeats, device)
            except torch.OutOfMemoryError:
                cells[name, way] = (math.nan, math.nan, "out of memory")
            if way == "fullgraph":
                _where(found, name, step, device)
            del step
            gc.collect()
        del data
    for name, way in product(EPOCHS, ("fullgraph", "bf16-mixed", "PyG")):
        (seconds, peak, busy), (plain_seconds, plain_peak, _) = cells[name, way], cells[name, "PyG"]
        row = {"model": name, "runs": way, "ms": ms(seconds), "times PyG's speed": f"{plain_seconds / seconds:.1f}"}
        memory = {"peak, GiB": f"{peak / 2**30:.2f}", "PyG's over it": f"{plain_peak / max(peak, 1):.1f}"}
        table.add(row | memory | {"busy": busy})
    pairs = [(losses[name, "fullgraph"], losses[name, "PyG"]) for name in EPOCHS if (name, "PyG") in losses]
    found.same_losses("the first epochs have PyG's losses", pairs)


def _watched(
    step: Callable[[], float], repeats: int, device: torch.device
) -> tuple[list[float], tuple[float, float, str]]:
    """The first losses; the median seconds, the peak bytes and the share in which the GPU was busy."""
    losses = [step() for _ in range(2)]
    memory = PeakMemory(device)
    seconds = _seconds({"": step}, repeats, device)[""]
    kernels = sum(taken for _, _, taken in _kernels(step, device))
    return losses, (seconds, memory.start + memory.growth(), f"{100 * kernels / seconds:.0f} %")


def _where(found: Findings, name: str, step: Callable[[], float], device: torch.device) -> None:
    """A table of the kernels that take the most of an epoch."""
    table = found.table(f"Where an epoch of {name} goes")
    for kernel, calls, seconds in _kernels(step, device)[:8]:
        table.add({"kernel": kernel[:60], "calls": calls, "ms": ms(seconds)})


def _kernels(step: Callable[[], float], device: torch.device) -> list[tuple[str, int, float]]:
    """Kernels of a step (on a CPU torch's functions) by how many seconds they take, and how often they are called."""
    is_gpu = device.type == "cuda"
    with profile(activities=[ProfilerActivity.CUDA if is_gpu else ProfilerActivity.CPU]) as profiler:
        step()
    events = profiler.key_averages()
    taken = [(e.key, e.count, (e.self_device_time_total if is_gpu else e.self_cpu_time_total) / 1e6) for e in events]
    return sorted(taken, key=lambda each: -each[2])


def _products(found: Findings, size: Size, device: torch.device) -> None:
    table = found.table("Products-shaped")
    data = fg.open(graphs.products_shaped(*size.products, device), fg.init(device=device))
    for way in ("fullgraph", "bf16-mixed"):
        step = step_in(way, EPOCHS["SAGE"], data, size.hidden["SAGE"])
        _, (seconds, peak, busy) = _watched(step, 3, device)
        table.add({"runs": way, "ms": ms(seconds), "peak, GiB": f"{peak / 2**30:.2f}", "busy": busy})
