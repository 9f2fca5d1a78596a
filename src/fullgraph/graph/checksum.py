"""The checksum that ties a file to its manifest: a flipped bit is found when a part is read, not as a strange loss."""

import hashlib
from functools import partial
from pathlib import Path

ALGORITHM = "blake2b-128"
_blake2b = partial(hashlib.blake2b, digest_size=16)


def checksum_of_bytes(data: bytes) -> str:
    """blake2b with a digest of 128 bits, as 32 hexadecimal digits."""
    return _blake2b(data).hexdigest()


def checksum_of_file(path: Path) -> str:
    """The same over a file's whole content, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, _blake2b).hexdigest()
