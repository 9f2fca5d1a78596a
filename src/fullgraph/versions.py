"""Versions of torch that are known to compute something else are refused at import: they would say nothing."""

from importlib import metadata

WRONG_SINCE = (2, 14)
"""Where a process has compiled an `autograd.Function` for plain tensors, it gives rows another gradient
(``tests/rows/test_compiling.py``)."""


def refuse_known_wrong() -> None:
    """Look at the torch that is installed, without importing it.

    Raises:
        ImportError: it is one of these versions.
    """
    try:
        torch = metadata.version("torch")
    except metadata.PackageNotFoundError:  # which importing it says better
        return
    major, minor, *_ = torch.split(".")
    if (int(major), int(minor)) >= WRONG_SINCE:
        raise ImportError(
            "fullgraph needs an earlier torch: since {}.{} its torch.compile gives wrong gradients of some programs on "
            "several ranks; type: pip install 'torch==2.13.*'; installed: {}".format(*WRONG_SINCE, torch)
        )
