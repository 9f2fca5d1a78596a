"""The law: every script gives on ranks what it gives as plain PyG."""

import pytest
import torch

from tests.programs.running import PLAIN, SCRIPTS, dataset_of, run_script
from tests.ranks import run_ranks
