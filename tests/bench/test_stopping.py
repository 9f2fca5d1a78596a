"""The papers' stopping rules, on made-up scores whose outcome can be told by hand."""

from fullgraph.bench.stopping import Patience, Scores, Stopping, Window


def _stops_at(rule: Stopping, losses: list[float], accuracies: list[float] | None = None) -> int | None:
    """The epoch, counted from 1, after which ``rule`` is over; the test accuracy of epoch e is e / 1000."""
    for epoch, loss in enumerate(losses, start=1):
        accuracy = accuracies[epoch - 1] if accuracies else 0.5
        scores = Scores(val_loss=loss, penalty=0.0, val_accuracy=accuracy, test_accuracy=epoch / 1000)
        if rule.is_over(scores):
            return epoch
    return None


def test_the_window_compares_with_the_mean_of_the_epochs_before():
    falling = [2.0 - 0.1 * epoch for epoch in range(12)]  # the mean of the last 10 is 1.35
    rule = Window(length=10)
    assert _stops_at(rule, [*falling, 1.34]) is None
    assert _stops_at(Window(length=10), [*falling, 1.36]) == 13


def test_the_window_does_not_stop_before_it_is_full_and_counts_the_last_epoch():
    rule = Window(length=10)
    assert _stops_at(rule, [1.0 + epoch for epoch in range(20)]) == 12
    assert rule.chosen.test_accuracy == 0.012


def test_the_window_sees_the_penalty():
    rule = Window(length=2)
    scores = [Scores(val_loss=1.0, penalty=p, val_accuracy=0.5, test_accuracy=0.5) for p in (0.1, 0.1, 0.1, 0.2)]
    assert [rule.is_over(each) for each in scores] == [False, False, False, True]


def test_patience_counts_from_the_last_epoch_that_reached_either_best():
    rule = Patience(epochs=3)
    losses = [1.0, 0.9, 1.0, 1.0, 0.9, 1.0, 1.0, 1.0]  # epoch 5 reaches the lowest loss again
    assert _stops_at(rule, losses, [0.5, 0.7, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6]) == 8
    assert rule.chosen.test_accuracy == 0.002  # the last epoch that reached both


def test_patience_takes_the_later_of_two_equals():
    rule = Patience(epochs=2)
    assert _stops_at(rule, [1.0, 1.0, 1.1, 1.1], [0.5, 0.5, 0.4, 0.4]) == 4
    assert rule.chosen.test_accuracy == 0.002
