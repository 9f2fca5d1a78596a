"""METIS on arrays, and in a process of its own: it holds Python's lock, and a rank that does looks dead to the others.

The process is this file, which so imports nothing of fullgraph, and no torch.
"""

import ctypes
import errno
import pickle
import signal
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pymetis

_PR_SET_PDEATHSIG = 1  # prctl(2)


def cut(indptr: np.ndarray, indices: np.ndarray, weights: np.ndarray, num_parts: int, seed: int) -> np.ndarray:
    """The part of each node of a symmetric graph, int32 [N].

    Args:
        indptr: whole numbers [N + 1], CSR.
        indices: whole numbers [E].
        weights: of the nodes, int64 [N].
    """
    # the wheel's METIS has 64-bit indices and copies anything else element by element
    wide = [np.array(part, np.int64).ravel() for part in (indptr, indices)]
    del indptr, indices
    partition = pymetis.part_graph(
        num_parts,
        pymetis.CSRAdjacency(*wide),
        vweights=weights,
        recursive=False,
        options=pymetis.Options(seed=seed),
    )
    return np.asarray(partition.vertex_part, np.int32)


def cut_apart(*args: np.ndarray | int) -> np.ndarray:
    """`cut`, while this process's other threads go on.

    Raises:
        MemoryError: there was too little for METIS.
    """
    command = [sys.executable, "-P", __file__]  # -P: beside this file is one with the name of Python's random
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            with suppress(BrokenPipeError), process.stdin:
                pickle.dump(args, process.stdin, pickle.HIGHEST_PROTOCOL)
            said = process.stdout.read()
            code = process.wait()
        finally:
            process.kill()
    if code in (errno.ENOMEM, -signal.SIGKILL):
        raise MemoryError("METIS needs more to cut this graph")
    if code:
        raise RuntimeError(f"METIS's process ended with code {code}, and has said why")
    return pickle.loads(said)


def _main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a terminal sends it to all, and Python would see it after METIS
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        parts = cut(*pickle.load(sys.stdin.buffer))
    except MemoryError:
        sys.exit(errno.ENOMEM)
    pickle.dump(parts, sys.stdout.buffer, pickle.HIGHEST_PROTOCOL)


if __name__ == "__main__":
    _main()
