"""What holds for all tests: how much of a product of settings is tested, and on how many threads."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch

if not torch.cuda.is_available():  # kernels for GPUs run in Triton's interpreter, chosen when PyG imports it
    os.environ["TRITON_INTERPRET"] = "1"

from tests.combinations import chosen, turn
from tests.ops.laws import num_threads


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--whole", action="store_true", help="all combinations of settings, not only every pair of values")
    parser.addoption("--fuzz-seconds", type=float, default=4, help="how long files are spoiled and read")
    parser.addoption("--flips", type=int, default=60, help="how many bits are flipped, and files cut short")
    parser.addoption("--kills", type=int, default=10, help="how many ranks are killed in tests/soak")
    parser.addoption("--kill-seed", type=int, default=0, help="when, and which")
    parser.addoption("--fuzz-seed", type=int, default=0, help="what is spoiled, and how")

    parser.addoption("--device", default="cpu", help="where kernels and laws run: cpu or cuda")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "combinations(at_once, values): see tests/combinations.py")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for mark in metafunc.definition.iter_markers("combinations"):
        at_once, values = mark.args
        metafunc.parametrize(list(values), chosen(at_once, values, whole=metafunc.config.getoption("whole")))


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """On tensors so small threads wait for each other most of the time, the longer the busier the cores are with ranks.

    Tests of what several threads do say how many.
    """
    with num_threads(1):
        yield


@pytest.fixture(scope="session")
def device(pytestconfig: pytest.Config) -> str:
    """Where what has kernels for GPUs is to run."""
    return pytestconfig.getoption("device")


@pytest.fixture(scope="session")
def in_turn(pytestconfig: pytest.Config) -> Callable[..., list[Any]]:
    """The runs of the case with a number, of groups that cases take in turn."""
    return partial(turn, whole=pytestconfig.getoption("whole"))
