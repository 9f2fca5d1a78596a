"""Training options from a file, so that a long command line can be kept, and the config of a run be given back."""

import json
import tomllib
from pathlib import Path
from typing import Any

from fullgraph.errors import InputError
from fullgraph.train.config import TrainConfig


def read_options(path: Path) -> dict[str, Any]:
    """Fields of a `TrainConfig` by name, from a ``.toml`` or ``.json`` file such as a run's ``config.json``.

    Raises:
        InputError: the file cannot be read, or has another field or a value outside its range; the file is named.
    """
    readers = {".toml": tomllib.loads, ".json": json.loads}
    if path.suffix not in readers:
        raise InputError(f"options are read from a file that ends in {' or '.join(readers)}: {path}")
    try:
        values = readers[path.suffix](path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # of which both formats' errors are
        raise InputError(f"the options cannot be read ({' '.join(str(error).split())}): {path}") from error
    if not isinstance(values, dict):
        raise InputError(f"the options must be an object, names and values: {path}")
    try:
        TrainConfig.from_dict(values)
    except InputError as error:
        raise InputError(f"{path.name}: {error}") from error
    return values
