"""A pytest plugin (`-p tests.other_core`): run the tests on another build of the extension, the file $FULLGRAPH_CORE.

`make sanitize` loads builds with a sanitizer this way; the installed one stays as it is.
"""

import importlib.util
import os
import sys

_path = os.environ["FULLGRAPH_CORE"]
_spec = importlib.util.spec_from_file_location("fullgraph._core", _path)
assert _spec is not None
assert _spec.loader is not None
import torch  # noqa: E402, F401 — first, as fullgraph.ops.native does: the extension must find torch's OpenMP runtime loaded

_core = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_core)
sys.modules["fullgraph._core"] = _core
