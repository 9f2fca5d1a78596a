"""A graph cut once per method and number of parts, however many cases of a module open it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fullgraph as fg


def cut_once(folder: Path, data: Any) -> Callable[[str, int], str]:
    """Gives the path of ``data``, cut by a method into a number of parts below ``folder``."""

    def path_of(method: str, num_parts: int) -> str:
        path = folder / f"{method}-{num_parts}.fg"
        if not path.exists():
            fg.partition(data, path, num_parts=num_parts, method=method)
        return str(path)

    return path_of
