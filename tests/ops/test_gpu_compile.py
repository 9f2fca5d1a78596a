"""Every kernel for GPUs is taken by Triton's compiler, which refuses what its interpreter runs."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fullgraph import ops

triton = pytest.importorskip("triton")
BACKEND = Path(triton.__file__).parent / "backends" / "nvidia"
KERNELS = Path(ops.__file__).parent / "_triton"


@pytest.mark.skipif(not (BACKEND / "bin" / "ptxas").exists(), reason="this Triton has no assembler for NVIDIA's cards")
@pytest.mark.timeout(600)
def test_every_kernel_compiles(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"TRITON_CACHE_DIR": str(tmp_path)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.ops.compile_kernels", dtype],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for dtype in ("float32", "bfloat16")
    ]
    said = [(*each.communicate(), each.returncode) for each in processes]
    assert all(code == 0 for _, _, code in said), said
    assert {name for out, _, _ in said for name in out.split()} == kernels()


def kernels() -> set[str]:
    """The names of the functions in Triton's language that none of these calls."""
    trees = [ast.parse(file.read_text()) for file in KERNELS.glob("*.py")]
    functions = [node for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef)]
    compiled = [node for node in functions if any("jit" in ast.unparse(each) for each in node.decorator_list)]
    calls = [node.func for each in compiled for node in ast.walk(each) if isinstance(node, ast.Call)]
    return {node.name for node in compiled} - {func.id for func in calls if isinstance(func, ast.Name)}
