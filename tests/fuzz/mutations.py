"""Ways to spoil a file, from a seed: what disks, networks and strangers do to bytes, and to the values of JSON."""

import json
import random
from typing import Any

VALUES = (None, True, 0, -1, 1, 2**31, 2**63, 10**30, 1e400, float("nan"), "", "x", "../../../etc/passwd", [], {}, [1])


def spoiled_bytes(content: bytes, chance: random.Random) -> bytes:
    """Cut short, copied over itself in one place, or changed in up to eight."""
    kind, changed = chance.random(), bytearray(content)
    if kind < 0.2:
        return content[: chance.randrange(len(content))]
    if kind < 0.3:
        here, there, count = (chance.randrange(len(content)) for _ in range(3))
        changed[here : here + count % 64] = changed[there : there + count % 64]
        return bytes(changed)
    for _ in range(chance.choice((1, 1, 2, 8))):
        at = chance.randrange(min(len(changed), chance.choice((128, 2000, len(changed)))))
        changed[at] = chance.choice((changed[at] ^ (1 << chance.randrange(8)), 0, 255, chance.randrange(256)))
    return bytes(changed)


def spoiled_json(text: str, chance: random.Random) -> str:
    """One or two values replaced, left out, or under another key."""
    content = json.loads(text)
    for _ in range(chance.choice((1, 1, 2))):
        places = [(holder, key) for holder, key in _places(content)]
        holder, key = chance.choice(places)
        kind = chance.random()
        if kind < 0.2:
            del holder[key]
        elif kind < 0.3 and isinstance(holder, dict):
            holder[chance.choice(("x", "", "../../x", "a" * 300, "\ud800"))] = holder.pop(key)
        else:
            holder[key] = chance.choice(VALUES)
        if not content:
            break
    return json.dumps(content)


def _places(content: Any) -> list[tuple[Any, Any]]:
    keys = content if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else ()
    return [place for key in keys for place in ((content, key), *_places(content[key]))]
