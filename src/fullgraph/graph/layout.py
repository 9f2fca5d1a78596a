"""Where each array of a partitioned graph lies: names that users chose become file names that cannot clash."""

import re
from urllib.parse import quote

from fullgraph.graph.graph import NodeType, Relation

MANIFEST = "manifest.json"


def node_file(part: int, node_type: NodeType, array: str) -> str:
    """Path of a node array inside the graph's folder; ``ids`` holds the original ids."""
    return f"part-{part:05d}/nodes/{escape(node_type)}/{escape(array)}.npy"


def edge_file(part: int, relation: Relation, array: str) -> str:
    """Path of an edge array inside the graph's folder; ``indptr``, ``src`` and ``ids`` hold the structure."""
    return f"part-{part:05d}/edges/{'__'.join(map(escape, relation))}/{escape(array)}.npy"


def escape(name: str) -> str:
    """A name as a file name: percent-encoded, and so that ``__`` stays free to separate two names."""
    text = quote(name, safe=" ")
    text = re.sub(r"^\.|^_|_$|(?<=_)_", lambda match: f"%{ord(match[0]):02X}", text)
    return text
