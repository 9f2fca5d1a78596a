"""What torch reads from the environment when it allocates its first tensor, and so is set before anything else.

Large tensors on huge pages: rows of a layer are allocated, filled once and freed, and mapping them 4 KiB at a time
costs half of the CPU time of a small epoch. Its warnings in C++: when a rank stops, each of the others would print the
frames of its stack, and hide the message that names that rank. A variable that the user has set stays as it is.
"""

import os

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
