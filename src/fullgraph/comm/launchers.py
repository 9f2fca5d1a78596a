"""Who this process is among those that a launcher started: without it each of them would train alone, and say nothing.

torchrun says it in torch's own words (``RANK``, ``WORLD_SIZE``, ``MASTER_ADDR``, …); what others say is put in them.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from fullgraph.errors import InputError

LOOPBACK = "127.0.0.1"
_NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_FIRST_PORT, _NUM_PORTS = 20_000, 10_000


class Launcher(NamedTuple):
    """The variables of one launcher, and how its command line gives others to all ranks."""

    rank: str
    num_ranks: str
    local_rank: str
    gives: str


# An MPI that runs within a job of Slurm comes first: Slurm then knows of one process for each machine.
LAUNCHERS: Final[Mapping[str, Launcher]] = {
    "Open MPI": Launcher(
        "OMPI_COMM_WORLD_RANK",
        "OMPI_COMM_WORLD_SIZE",
        "OMPI_COMM_WORLD_LOCAL_RANK",
        "mpirun -x MASTER_ADDR=HOST -x MASTER_PORT=29500 …",
    ),
    "MPICH or Intel MPI": Launcher(
        "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "mpirun -genv MASTER_ADDR HOST -genv MASTER_PORT 29500 …"
    ),
    "Slurm": Launcher(
        "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "MASTER_ADDR=HOST MASTER_PORT=29500 srun …"
    ),
}


def place(environ: Mapping[str, str]) -> dict[str, str]:
    """What torchrun would set for this process: ``RANK``, ``WORLD_SIZE``, ``MASTER_ADDR``, ``MASTER_PORT``, …

    That is what is set, where ``RANK`` or ``WORLD_SIZE`` is; else it is made of what ``mpirun`` or ``srun`` has set, if
    that started more than one process. In a job of Slurm, ranks meet on its first machine, on a port made of its
    number, unless ``MASTER_ADDR`` and ``MASTER_PORT`` say another.

    Returns:
        Nothing for a process that is alone.

    Raises:
        InputError: something is missing.
    """
    set_already = {name: environ[name] for name in (*_NEEDED, "LOCAL_RANK", "LOCAL_WORLD_SIZE") if name in environ}
    if "RANK" in set_already or "WORLD_SIZE" in set_already:
        if missing := [name for name in _NEEDED if name not in set_already]:
            raise InputError(
                f"this process is a rank, which needs all of {', '.join(_NEEDED)} in its environment (torchrun sets "
                f"them); not set: {', '.join(missing)}"
            )
        return set_already
    for name, launcher in LAUNCHERS.items():
        if int(environ.get(launcher.num_ranks) or 1) == 1:
            continue
        named = {"RANK": launcher.rank, "WORLD_SIZE": launcher.num_ranks, "LOCAL_RANK": launcher.local_rank}
        found = {ours: environ[its] for ours, its in named.items() if its in environ}
        found |= _meeting_in_job(environ) | set_already
        if missing := [name for name in _NEEDED if name not in found]:
            raise InputError(
                f"{name} has started {found['WORLD_SIZE']} processes, which do not know where to meet; start them with "
                f"`{launcher.gives}`, HOST being the machine of rank 0; not set: {', '.join(missing)}"
            )
        return found | ({"LOCAL_WORLD_SIZE": found["WORLD_SIZE"]} if found["MASTER_ADDR"] == LOOPBACK else {})
    return {}


def _meeting_in_job(environ: Mapping[str, str]) -> dict[str, str]:
    """Where ranks of a Slurm job meet, the same on all of them."""
    job, nodes = environ.get("SLURM_JOB_ID"), environ.get("SLURM_STEP_NODELIST") or environ.get("SLURM_JOB_NODELIST")
    if not job or not nodes:
        return {}
    port = _FIRST_PORT + (10 * int(job) + int(environ.get("SLURM_STEP_ID") or 0)) % _NUM_PORTS
    first = re.sub(r"\[([^],-]+)[^]]*\]", r"\1", nodes).partition(",")[0]  # of n[03-07,9],m1: n03
    return {"MASTER_ADDR": LOOPBACK if first == nodes else first, "MASTER_PORT": str(port)}
