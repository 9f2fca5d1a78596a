"""The fitted curve is the one that the peaks lie on; a peak off it counts by its share of it, whatever its size."""

import pytest

from fullgraph.bench.scaling import fit

RANKS = (1, 2, 4, 8, 16, 32, 64)


def test_peaks_on_a_curve_give_its_numbers():
    assert fit({n: round(1e9 / n + 3e7) for n in RANKS}) == pytest.approx((1e9, 3e7), rel=1e-6)


def test_small_peaks_count_as_much_as_large_ones():
    peaks = {n: 1e9 / n + 3e7 for n in RANKS}
    for off in (1, 64):
        a, b = fit(peaks | {off: 1.05 * peaks[off]})
        assert max(abs(peaks[n] / (a / n + b) - 1) for n in RANKS) < 0.05
