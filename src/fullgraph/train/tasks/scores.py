"""Metrics over the rows of all ranks: counts are summed where the rows are, and only what is sorted is gathered.

What sorts needs all scores of a column at once, so a rank then has one column of the selected rows, and no more. They
are given to torchmetrics as their places in order, since it would take a sigmoid of what is no probability, which makes
large scores equal.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from fullgraph.errors import InputError
from fullgraph.rows import gather


def accuracy(out: Tensor, y: Tensor) -> float:
    """Share of the rows whose largest of ``out [n, num_classes]`` is that of the class ``y`` int64 ``[n]``."""
    return int((out.argmax(-1) == y).sum()) / len(y)


def macro_f1(out: Tensor, y: Tensor) -> float:
    """The mean over classes, of which those that are neither true nor predicted are left out; shapes as `accuracy`."""
    from torchmetrics.functional.classification import multiclass_stat_scores

    counts = multiclass_stat_scores(out.argmax(-1), y.long(), out.shape[1], average=None, validate_args=False)
    return _mean_f1(counts.view(-1, 5))


def multilabel_micro_f1(out: Tensor, y: Tensor) -> float:
    """Of all entries of ``y [n, num_labels]`` of 0 and 1 that are not NaN; ``out`` above 0 predicts 1."""
    return _mean_f1(_label_counts(out, y).sum(0, keepdim=True))


def multilabel_macro_f1(out: Tensor, y: Tensor) -> float:
    """The mean over labels, of which those that are neither true nor predicted are left out; as the micro one."""
    return _mean_f1(_label_counts(out, y))


def _label_counts(out: Tensor, y: Tensor) -> Tensor:
    """True and false positives, true and false negatives and true ones, int64 ``[num_labels, 5]``."""
    from torchmetrics.functional.classification import multilabel_stat_scores

    known = torch.where(y.isnan(), -1, y).long()
    counts = multilabel_stat_scores(
        (out > 0).long(), known, out.shape[1], average=None, ignore_index=-1, validate_args=False
    )
    return counts.view(-1, 5)


def _mean_f1(counts: Tensor) -> float:
    true, wrong = counts[:, 0].double(), (counts[:, 1] + counts[:, 3]).double()
    f1 = (2 * true / (2 * true + wrong))[true + wrong > 0]
    return float(f1.mean()) if len(f1) else 0.0


def multiclass_roc_auc(out: Tensor, y: Tensor) -> float:
    """Of two classes the second against the first; of more each against the others, the mean over those that occur."""
    return _of_classes(roc_auc, out, y)


def multiclass_average_precision(out: Tensor, y: Tensor) -> float:
    """As `multiclass_roc_auc`."""
    return _of_classes(average_precision, out, y)


def multilabel_roc_auc(out: Tensor, y: Tensor) -> float:
    """The mean over the labels that have entries of both kinds, as OGB has it; NaN entries are left out."""
    return _mean_over_columns(roc_auc, out, y)


def multilabel_average_precision(out: Tensor, y: Tensor) -> float:
    """As `multilabel_roc_auc`."""
    return _mean_over_columns(average_precision, out, y)


def _of_classes(metric: Callable[[Tensor, Tensor], float], out: Tensor, y: Tensor) -> float:
    scores, classes = F.log_softmax(out, -1), range(out.shape[1])
    if len(classes) == 2:
        scores, classes = scores[:, 1:], range(1, 2)
    return _mean_over_columns(metric, scores, torch.stack([y == each for each in classes], -1).to(scores.dtype))


def _mean_over_columns(metric: Callable[[Tensor, Tensor], float], scores: Tensor, y: Tensor) -> float:
    found = []
    for column in range(y.shape[1]):
        score, truth = gather(scores[:, column]), gather(y[:, column])
        if bool((truth == 0).any()) and bool((truth == 1).any()):
            known = ~truth.isnan()
            found.append(metric(score[known & (truth == 1)], score[known & (truth == 0)]))
    if not found:
        raise InputError("no column of the labels has both a 0 and a 1, which roc_auc and average_precision need")
    return sum(found) / len(found)


def roc_auc(positive: Tensor, negative: Tensor) -> float:
    """Area under the curve of true over false positives, of scores ``[n]`` and ``[m]`` of the two kinds."""
    from torchmetrics.functional.classification import binary_auroc

    return float(binary_auroc(*_in_order(positive, negative), validate_args=False))


def average_precision(positive: Tensor, negative: Tensor) -> float:
    """The mean of the precision over the positives; arguments as `roc_auc`."""
    from torchmetrics.functional.classification import binary_average_precision

    return float(binary_average_precision(*_in_order(positive, negative), validate_args=False))


def _in_order(positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    """Scores as numbers from 0 to 1 of the same order, ties included, float64, and which are of positives."""
    ones, zeros = gather(positive), gather(negative)
    both = torch.cat([ones, zeros])
    places = both.unique(return_inverse=True)[1].double() / len(both)
    return places, torch.arange(len(both), device=both.device) < len(ones)


def mse(out: Tensor, y: Tensor) -> float:
    """The mean of the squared differences of all entries."""
    return float(F.mse_loss(out, y))


def mae(out: Tensor, y: Tensor) -> float:
    """The mean of the absolute differences of all entries."""
    return float(F.l1_loss(out, y))


def r2(out: Tensor, y: Tensor) -> float:
    """The share of the variance that is explained, ``[n, num_targets]``; the mean over targets."""
    total = ((y - y.mean(0)) ** 2).sum(0)
    if not bool((total > 0).all()):
        raise InputError("r2 needs labels that differ; choose --metric mse or mae")
    return float((1 - ((y - out) ** 2).sum(0) / total).mean())


def mrr(positive: Tensor, negative: Tensor) -> float:
    """The mean of one over the rank of each positive among all negatives; of equal scores half are above, as in OGB."""
    above, equal = _above_and_equal(positive, negative)
    return float((1 / (1 + above + 0.5 * equal)).mean())


def hits(positive: Tensor, negative: Tensor, k: int) -> float:
    """The share of positives above all but fewer than ``k`` negatives, equal ones counting as above, as in OGB."""
    above, equal = _above_and_equal(positive, negative)
    return float((above + equal < k).double().mean())


def _above_and_equal(positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    """For each positive, how many negatives score higher, and how many the same, float64."""
    ones, zeros = gather(positive), gather(negative).sort().values
    below = torch.searchsorted(zeros, ones)
    not_above = torch.searchsorted(zeros, ones, right=True)
    return (len(zeros) - not_above).double(), (not_above - below).double()
