"""What was made lately is kept within the budget, and the oldest goes first."""

from fullgraph.rows.recent import Recent


def test_the_oldest_goes_first_and_the_last_one_stays_however_large() -> None:
    recent: Recent[str] = Recent(budget=10)
    for key, size in (("a", 4), ("b", 4)):
        recent.put(key, key.upper(), size)
    assert recent.get("a") == "A"  # which makes it the newer one
    recent.put("c", "C", 4)
    assert (recent.get("b"), recent.get("a"), recent.get("c")) == (None, "A", "C")
    recent.put("large", "L", 11)
    assert (recent.get("a"), recent.get("c"), recent.get("large")) == (None, None, "L")


def test_what_is_made_anew_counts_once() -> None:
    recent: Recent[str] = Recent(budget=10)
    for _ in range(3):
        recent.put("a", "A", 5)
    recent.put("b", "B", 5)
    assert recent.get("a") == "A"
