"""Time, memory and traffic of an epoch through the public interface alone, so that any two commits can be compared.

    python benchmarks/epoch.py GRAPH.fg sage|gat NUM_RANKS [EPOCHS]

Prints one line: the largest rank's growth of resident memory and bytes sent, the median epoch's seconds and the
CPU-seconds of all ranks together, the first epoch left out. One rank has two threads, several have one each.
"""

import os
import resource
import socket
import statistics
import sys
import time

import torch
import torch.nn.functional as F

import fullgraph as fg
from fullgraph.train.memory import PeakMemory


def cpu_seconds() -> float:
    use = resource.getrusage(resource.RUSAGE_SELF)
    return use.ru_utime + use.ru_stime


def train(rank: int, num_ranks: int, path: str, name: str, epochs: int, port: int) -> None:
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(num_ranks), LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE=str(num_ranks))
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    from torch_geometric.nn.models import GAT, GraphSAGE  # after fullgraph, which sets how torch allocates

    world = fg.init()
    torch.set_num_threads(2 if num_ranks == 1 else 1)
    data = fg.open(path, world)
    torch.manual_seed(0)
    if name == "sage":
        model = GraphSAGE(data.num_features, 256, 3, data.num_classes, norm="batch_norm")
    else:
        model = GAT(data.num_features, 128, 3, data.num_classes, heads=4, norm="batch_norm")
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    fg.prepare(model, data)
    seconds, cpu, sent, loss = [], [], [], torch.zeros(())
    memory = PeakMemory(world.device)
    for _ in range(epochs):
        start, cpu_before, sent_before = time.perf_counter(), cpu_seconds(), world.traffic.rows_bytes
        optimizer.zero_grad()
        out = model(data.x, data.edge_index)
        loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
        loss.backward()
        optimizer.step()
        seconds.append(time.perf_counter() - start)
        cpu.append(cpu_seconds() - cpu_before)
        sent.append(world.traffic.rows_bytes - sent_before)
    mine = (memory.growth() / 2**20, statistics.median(seconds[1:]), statistics.median(cpu[1:]), sent[-1] / 2**20)
    growth, slowest, used, most = zip(*world.gather_objects(mine), strict=True)
    if rank == 0:
        print(
            f"| {name} | {num_ranks} | {max(growth):,.0f} | {max(slowest):.2f} | {sum(used):.2f} | {max(most):.1f} | "
            f"{loss.item():.6f} |"
        )
    world.close()


if __name__ == "__main__":
    path, name, num_ranks = sys.argv[1], sys.argv[2], int(sys.argv[3])
    epochs = int(sys.argv[4]) if len(sys.argv) > 4 else 4
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    if num_ranks == 1:
        train(0, 1, path, name, epochs, port)
    else:
        torch.multiprocessing.spawn(train, args=(num_ranks, path, name, epochs, port), nprocs=num_ranks)
