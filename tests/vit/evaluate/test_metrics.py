"""Measures against scikit-learn and closed forms; sums over parts equal the whole."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from vit.evaluate.metrics import BINS, MultiLabel, SingleLabel, average_precision, log_probabilities
from vit.losses import one_hot

ONES = torch.ones


def single(n: int = 200, k: int = 7, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, k - 1, (n,), generator=generator)  # the last class never occurs
    logits = torch.randn(n, k, generator=generator)
    logits[torch.arange(n), labels] += 1.0
    return logits, labels


def several(n: int = 60, k: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    truth = torch.rand(n, k, generator=generator) > 0.6
    truth[:, -1] = False
    scores = (torch.randn(n, k, generator=generator) + 1.5 * truth.float()).mul(4).round().div(4)  # with ties
    return scores, truth.float()


def test_accuracies_are_scikit_learns() -> None:
    from sklearn.metrics import accuracy_score, confusion_matrix, log_loss, recall_score, top_k_accuracy_score

    logits, labels = single()
    counted = SingleLabel(7)
    counted.update(logits, one_hot(labels, 7), ONES(200), losses=torch.arange(200.0))
    values, predicted = counted.compute(), logits.argmax(1)
    assert values["top1"] == pytest.approx(accuracy_score(labels, predicted))
    assert values["top5"] == pytest.approx(top_k_accuracy_score(labels, logits, k=5, labels=range(7)))
    recall = recall_score(labels, predicted, average=None, labels=range(6))
    assert values["mean_per_class"] == pytest.approx(np.mean(recall))
    assert values["nll"] == pytest.approx(log_loss(labels, logits.double().softmax(1), labels=range(7)), rel=1e-5)
    assert values["loss"] == pytest.approx(99.5)
    confusion = counted.confusion()
    assert confusion is not None
    assert np.array_equal(confusion.numpy(), confusion_matrix(labels, predicted, labels=range(7)))
    assert counted.class_counts().sum() == 200


def test_calibration_error_is_that_of_guo() -> None:
    """The plain double loop of the paper's definition."""
    logits, labels = single(seed=3)
    counted = SingleLabel(7)
    counted.update(logits, one_hot(labels, 7), ONES(200))
    confidence, predicted = logits.softmax(1).max(1)
    expected = 0.0
    for b in range(BINS):
        inside = (confidence > b / BINS) & (confidence <= (b + 1) / BINS)
        if inside.any():
            right = (predicted == labels)[inside].float().mean()
            expected += inside.float().mean().item() * abs(right - confidence[inside].mean()).item()
    assert counted.compute()["ece"] == pytest.approx(expected, abs=1e-6) and expected > 0.01


def test_a_calibrated_predictor_has_no_error_and_a_sure_one_all_of_it() -> None:
    counted = SingleLabel(2)
    logits = torch.tensor([[0.8, 0.2]]).log().repeat(10, 1)
    counted.update(logits, one_hot(torch.tensor([0] * 8 + [1] * 2), 2), ONES(10))
    assert counted.compute()["ece"] == pytest.approx(0, abs=1e-6)
    sure = SingleLabel(2)
    sure.update(torch.tensor([[100.0, -100]] * 4), one_hot(torch.tensor([1, 1, 1, 0]), 2), ONES(4))
    assert sure.compute()["ece"] == pytest.approx(0.75)


def test_padding_counts_for_nothing() -> None:
    logits, labels = single(40)
    whole, padded = SingleLabel(7), SingleLabel(7)
    whole.update(logits, one_hot(labels, 7), ONES(40), ONES(40))
    nan = torch.full((8, 7), torch.nan)
    padded.update(
        torch.cat([logits, nan]),
        one_hot(torch.cat([labels, labels[:8]]), 7),
        torch.cat([ONES(40), torch.zeros(8)]),
        torch.cat([ONES(40), torch.full((8,), torch.nan)]),
    )
    assert padded.compute() == pytest.approx(whole.compute())


def parts(make: Callable[[], SingleLabel | MultiLabel], data: tuple[Tensor, Tensor], cuts: list[int]) -> list:
    found = []
    for logits, targets in zip(data[0].tensor_split(cuts), data[1].tensor_split(cuts), strict=True):
        counted = make()
        counted.update(logits, targets, ONES(len(logits)), logits.square().mean(1))
        found.append(counted)
    return found


def reduce_together(found: list, **options: int) -> None:
    """What an all-reduce does: every ``add`` call of all parts, in lockstep, by threads."""
    from threading import Barrier, Thread

    barrier, slots = Barrier(len(found)), [torch.empty(0)] * len(found)

    def run(rank: int) -> None:
        def add(value: Tensor) -> Tensor:
            slots[rank] = value
            barrier.wait()
            total = torch.stack(slots).sum(0)
            barrier.wait()
            return total

        if isinstance(found[rank], MultiLabel):
            found[rank].combine(add, rank, len(found))
        else:
            found[rank].combine(add)

    threads = [Thread(target=run, args=(rank,)) for rank in range(len(found))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("cuts", [[100], [7, 90]])
def test_processes_agree_with_one(cuts: list[int]) -> None:
    logits, labels = single()
    data = logits, one_hot(labels, 7)
    (one,) = parts(lambda: SingleLabel(7), data, [])
    many = parts(lambda: SingleLabel(7), data, cuts)
    reduce_together(many)
    results = [part.compute() for part in many]
    assert all(result == results[0] for result in results)
    assert results[0] == pytest.approx(one.compute(), rel=1e-12)
    assert torch.equal(many[0].confusion(), one.confusion())


@pytest.mark.parametrize("cuts", [[30], [0, 11, 50]])
def test_processes_agree_with_one_on_several_labels(cuts: list[int]) -> None:
    data = several()
    (one,) = parts(lambda: MultiLabel(5), data, [])
    many = parts(lambda: MultiLabel(5), data, cuts)
    reduce_together(many)
    results = [part.compute() for part in many]
    assert all(result == results[0] for result in results)
    assert results[0] == pytest.approx(one.compute(), rel=1e-12)


def test_any_of_several_labels_is_right() -> None:
    """ReaL: a prediction is right if the set holds it; pictures without any label are left out."""
    logits = torch.tensor([[3.0, 2, 0], [3, 2, 0], [0, 0, 5], [9, 0, 0]])
    targets = torch.tensor([[0.0, 1, 1], [1, 1, 0], [1, 0, 0], [0, 0, 0]])
    counted = SingleLabel(3)
    counted.update(logits, targets, ONES(4))
    values = counted.compute()
    assert values["top1"] == pytest.approx(1 / 3) and "top5" not in values
    p = logits.softmax(1)
    expected = -torch.stack([p[0, 1:].sum(), p[1, :2].sum(), p[2, 0]]).log().mean()
    assert values["nll"] == pytest.approx(expected.item(), rel=1e-5)
    assert counted.class_counts().tolist() == [2, 1, 0]  # the predicted label where it is right, else the first


def test_sigmoids_are_normalised_over_the_classes() -> None:
    logits = torch.tensor([[2.0, -1, 0.5]])
    p = logits.sigmoid() / logits.sigmoid().sum()
    torch.testing.assert_close(log_probabilities(logits, True).exp(), p)
    torch.testing.assert_close(log_probabilities(logits, False).exp(), logits.softmax(1))


def test_nothing_counted_is_nothing_told() -> None:
    assert SingleLabel(3).compute() == {} and MultiLabel(3).compute() == {}


def test_many_classes_do_without_a_confusion_matrix() -> None:
    counted = SingleLabel(1200)
    counted.update(torch.randn(4, 1200), one_hot(torch.arange(4), 1200), ONES(4))
    assert counted.confusion() is None and set(counted.compute()) >= {"top1", "top5", "mean_per_class"}


def test_several_labels_are_measured_as_scikit_learn_does() -> None:
    from sklearn.metrics import accuracy_score, average_precision_score, f1_score

    logits, targets = several()
    counted = MultiLabel(5)
    counted.update(logits, targets, ONES(60), ONES(60))
    values, said = counted.compute(), (logits > 0).int()
    truth = targets.int()
    assert values["map"] == pytest.approx(average_precision_score(truth[:, :4], logits[:, :4], average="macro"))
    assert values["f1_micro"] == pytest.approx(f1_score(truth, said, average="micro"))
    each = f1_score(truth, said, average=None, zero_division=0)
    seen = ((truth + said) > 0).any(0)
    assert values["f1_macro"] == pytest.approx(np.mean(each[seen.numpy()]))
    assert values["exact_match"] == pytest.approx(accuracy_score(truth, said))
    assert values["loss"] == 1.0
    assert counted.class_average_precision().isnan().tolist() == [False] * 4 + [True]


def test_average_precision_does_not_depend_on_the_order_of_ties() -> None:
    scores, truth = torch.tensor([1.0, 1, 1, 0]), torch.tensor([True, False, False, True])
    expected = 0.5 * 1 / 3 + 0.5 * 2 / 4
    for order in ([0, 1, 2, 3], [1, 0, 2, 3], [3, 2, 1, 0]):
        assert average_precision(scores[order], truth[order]).item() == pytest.approx(expected)
