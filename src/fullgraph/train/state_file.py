"""A state of nested values and tensors as two files, plain to read and refused if a single bit of them has changed.

``NAME.safetensors`` holds the tensors. ``NAME.json``, written last, holds all else, with the size and the checksum of
the first, and a checksum of its own. No code is ever in them, so none is ever run.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from fullgraph.errors import InputError
from fullgraph.graph.checksum import checksum_of_bytes, checksum_of_file
from fullgraph.replacing import replacing

MOST_TEXT = 64 << 20
"""Bytes of the JSON from which on it is no such file."""


class Damaged(InputError):
    """The files are not what was written."""


def write_state(values: dict[str, Any], path: Path) -> None:
    """Write ``values`` to ``path`` with the endings ``.safetensors`` and ``.json``, the latter last.

    Args:
        values: of None, bool, int, float, str, `Tensor`, and lists, tuples and dicts of these, with keys int or str.
        path: without ending. There must be none of its name.
    """
    tensors: dict[str, Tensor] = {}
    encoded = _encode(values, "", tensors)
    with replacing(path.with_suffix(".safetensors")) as file:
        try:
            save_file(tensors, file.name)
        except SafetensorError as error:
            number = re.search(r"os error (\d+)", str(error))
            if number is None:
                raise
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error
    written = path.with_suffix(".safetensors")
    about = {"num_bytes": written.stat().st_size, "checksum": checksum_of_file(written)}
    with replacing(path.with_suffix(".json")) as file:
        file.write(_text(_content(about, encoded)))


def read_head(path: Path) -> dict[str, Any]:
    """The values without the tensors, each of which is None; of the two files only the JSON is read.

    Raises:
        Damaged: the file is missing, too long, not JSON, or does not match its checksum.
    """
    return _decode(_read_json(path)["values"], None)


def read_state(path: Path) -> dict[str, Any]:
    """What `write_state` wrote, tensors on the CPU.

    Raises:
        Damaged: a file is missing or is not what was written; the message names it.
    """
    content, file = _read_json(path), path.with_suffix(".safetensors")
    about = content["tensors"]
    try:
        if file.stat().st_size != about["num_bytes"]:
            raise Damaged(f"has {file.stat().st_size} bytes in place of {about['num_bytes']}: {file}")
        if checksum_of_file(file) != about["checksum"]:
            raise Damaged(f"does not match its checksum: {file}")
        return _decode(content["values"], load(file.read_bytes()))
    except (OSError, SafetensorError, KeyError) as error:
        raise Damaged(f"cannot be read ({error}): {file}") from error


def _read_json(path: Path) -> dict[str, Any]:
    file = path.with_suffix(".json")
    try:
        if file.stat().st_size > MOST_TEXT:
            raise Damaged(f"has more than {MOST_TEXT} bytes: {file}")
        written = file.read_bytes()
        content = json.loads(written)
        content.pop("checksum")
        if _text(content) != written:
            raise Damaged(f"does not match its checksum: {file}")
        return content
    except (OSError, ValueError, RecursionError, AttributeError, KeyError, TypeError) as error:
        if isinstance(error, Damaged):
            raise
        raise Damaged(f"cannot be read ({type(error).__name__}): {file}") from error


def _content(about: dict[str, Any], encoded: Any) -> dict[str, Any]:
    return {"tensors": about, "values": encoded}


def _text(content: dict[str, Any]) -> bytes:
    """The one text that stands for ``content``."""
    body = json.dumps(content, sort_keys=True)
    return json.dumps({"checksum": checksum_of_bytes(body.encode()), **content}, indent=1, sort_keys=True).encode()


def _encode(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        tensors[name] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        return {"tensor": name}
    if isinstance(value, dict):
        return {"dict": [[key, _encode(each, f"{name}/{key}", tensors)] for key, each in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [_encode(each, f"{name}/{at}", tensors) for at, each in enumerate(value)]}
    if isinstance(value, list):
        return [_encode(each, f"{name}/{at}", tensors) for at, each in enumerate(value)]
    assert value is None or isinstance(value, bool | int | float | str), f"{name} is {type(value).__name__}"
    return value


def _decode(value: Any, tensors: dict[str, Tensor] | None) -> Any:
    if isinstance(value, list):
        return [_decode(each, tensors) for each in value]
    if not isinstance(value, dict):
        return value
    ((kind, inner),) = value.items()
    if kind == "tensor":
        return None if tensors is None else tensors[inner]
    if kind == "tuple":
        return tuple(_decode(each, tensors) for each in inner)
    return {key: _decode(each, tensors) for key, each in inner}
