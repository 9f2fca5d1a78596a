"""The doctor finds what is slow here, and says what to change."""

from pathlib import Path

import pytest
import torch

from fullgraph import doctor


def finding(what: str) -> doctor.Finding:
    return next(each for each in doctor.examine() if each.what == what)


def test_everything_is_looked_at_and_measured():
    found = {each.what: each.found for each in doctor.examine()}
    assert len(found) == 12
    assert f"torch {torch.__version__}" in found["software"]
    assert float(found["memory"].split()[0]) > 0
    assert "GFLOP/s in float32" in found["products"]


def test_more_threads_than_cores_are_named(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4096)
    assert "set OMP_NUM_THREADS" in finding("threads").advice


def test_fewer_threads_than_cores_are_named_if_the_environment_says_so(monkeypatch):
    monkeypatch.setattr(doctor, "_usable_cores", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert "leaves cores idle" in finding("threads").advice
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert finding("threads").advice == ""


@pytest.mark.parametrize(
    ("setting", "advised"), [("always [madvise] never", ""), ("always madvise [never]", "write madvise into")]
)
def test_huge_pages_that_are_off_are_named(monkeypatch, tmp_path, setting, advised):
    file = tmp_path / "enabled"
    file.write_text(setting)
    monkeypatch.setattr(doctor, "_HUGE_PAGES", file)
    advice = finding("huge pages").advice
    assert advised in advice
    assert bool(advice) == bool(advised)


def test_two_runtimes_of_openmp_are_named(monkeypatch):
    monkeypatch.setattr(doctor, "_mapped", lambda *names: ["libgomp.so.1", "libiomp5.so"])
    assert "several runtimes" in finding("OpenMP").advice


def test_a_system_without_proc_is_no_error(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "Path", lambda name: Path(tmp_path) / "missing")
    assert doctor._mapped("gomp") == []
    assert doctor._flags() == set()
