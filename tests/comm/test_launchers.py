"""Processes of Slurm and MPI are ranks of one run, or are told what is missing; none is silently alone."""

import os
import subprocess
import sys

import pytest

from fullgraph.comm.launch import launch
from fullgraph.comm.launchers import place
from fullgraph.errors import InputError
from tests.ranks import free_port

SLURM = {"SLURM_JOB_ID": "4711", "SLURM_STEP_ID": "2", "SLURM_LOCALID": "1", "SLURM_PROCID": "3"}
OPEN_MPI = {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_RANK": "0"}
PROGRAM = """
import fullgraph as fg, torch
world = fg.init()
print(world.rank, world.num_ranks, world.all_reduce(torch.tensor([world.rank + 1.0])).item())
world.close()
"""


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("n7", "127.0.0.1"),
        ("n7,n9", "n7"),
        ("gpu[03-07,11],cpu2", "gpu03"),
        ("gpu[03,07]", "gpu03"),
        ("rack[2-3]n[08-09]-ib,x", "rack2n08-ib"),
    ],
)
def test_ranks_of_a_slurm_job_meet_on_its_first_machine(nodes, first):
    found = place({**SLURM, "SLURM_STEP_NUM_TASKS": "5", "SLURM_STEP_NODELIST": nodes})
    expected = {"RANK": "3", "WORLD_SIZE": "5", "LOCAL_RANK": "1", "MASTER_ADDR": first, "MASTER_PORT": "27112"}
    assert found == expected | ({"LOCAL_WORLD_SIZE": "5"} if nodes == "n7" else {})


def test_what_is_set_comes_first():
    place_of = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "a", "MASTER_PORT": "1"}
    assert place({**SLURM, **OPEN_MPI, **place_of}) == place_of
    slurm = {**SLURM, "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NODELIST": "n[1-2]"}
    assert place({**slurm, "MASTER_ADDR": "a", "MASTER_PORT": "1"})["MASTER_ADDR"] == "a"
    assert place({**slurm, **OPEN_MPI})["RANK"] == "1"  # mpirun, which has Slurm start one process a machine


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {**SLURM, "SLURM_NTASKS": "5"},  # a job's script, which srun has not started
        {**SLURM, "SLURM_STEP_NUM_TASKS": "1", "SLURM_STEP_NODELIST": "n7"},
        {**OPEN_MPI, "OMPI_COMM_WORLD_SIZE": "1"},
    ],
)
def test_one_process_is_alone(environ):
    assert place(environ) == {}


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        (
            OPEN_MPI,
            "Open MPI has started 2 processes, .* `mpirun -x MASTER_ADDR=HOST .*not set: MASTER_ADDR, MASTER_PORT",
        ),
        ({**OPEN_MPI, "MASTER_ADDR": "a"}, "not set: MASTER_PORT$"),
        ({"PMI_RANK": "0", "PMI_SIZE": "3"}, "MPICH or Intel MPI has started 3 .* `mpirun -genv MASTER_ADDR HOST "),
        ({"SLURM_STEP_NUM_TASKS": "3", "SLURM_PROCID": "0"}, "Slurm has started 3 .*MASTER_ADDR=HOST .* srun"),
        (
            {"RANK": "0"},
            "^this process is a rank, which needs all of .*; not set: WORLD_SIZE, MASTER_ADDR, MASTER_PORT$",
        ),
    ],
)
def test_what_is_missing_is_named(environ, message):
    with pytest.raises(InputError, match=message):
        place(environ)


def test_processes_of_several_start_no_ranks_of_their_own(monkeypatch):
    for name, value in {**OPEN_MPI, "MASTER_ADDR": "a", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=r"started this process as one of 2, .* without the launcher: rank 1$"):
        launch(print, num_ranks=2)


def slurm(rank: int) -> dict[str, str]:
    job = {"SLURM_JOB_ID": "1", "SLURM_STEP_NODELIST": "this", "SLURM_STEP_NUM_TASKS": "3"}
    return {**job, "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)}


def open_mpi(rank: int) -> dict[str, str]:
    return {"OMPI_COMM_WORLD_RANK": str(rank), "OMPI_COMM_WORLD_SIZE": "3", "MASTER_ADDR": "127.0.0.1"}


@pytest.mark.parametrize("launcher", [slurm, open_mpi], ids=lambda launcher: launcher.__name__)
def test_three_processes_make_one_run(launcher):
    port = {"MASTER_PORT": str(free_port()), "OMP_NUM_THREADS": "1"}
    environs = [{**os.environ, **launcher(rank), **port} for rank in range(3)]
    words = [sys.executable, "-c", PROGRAM]
    started = [subprocess.Popen(words, env=environ, stdout=subprocess.PIPE) for environ in environs]
    assert [process.communicate(timeout=120)[0] for process in started] == [b"0 3 6.0\n", b"1 3 6.0\n", b"2 3 6.0\n"]
