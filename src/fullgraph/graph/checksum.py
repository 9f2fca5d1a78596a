"""The checksum that ties a file to its manifest: a flipped bit is found when a part is read, not as a strange loss."""

import hashlib
from pathlib import Path

ALGORITHM = "blake2b-128"
_CHUNK = 1 << 22


def checksum_of_bytes(data: bytes) -> str:
    """blake2b with a digest of 128 bits, as 32 hexadecimal digits."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def checksum_of_file(path: Path) -> str:
    """The same over a file's whole content, read in pieces."""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
