"""Few-shot samples as they are drawn, neighbours and probe against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.helpers.blobs import blobs
from trainer.errors import DataError
from vit.config import ModelConfig
from vit.evaluate.features import extract, few_indices, few_shot, linear_probe, nearest_neighbours
from vit.model.architecture import architecture
from vit.model.timm_model import TimmClassifier
from vit.model.transformer import VisionTransformer


def test_samples_are_drawn_as_big_vision_draws_them() -> None:
    """One generator per seed; each class's indices are permuted in turn, classes in order."""
    labels = np.array([2, 0, 1, 0, 2, 1, 0, 2])
    rng = np.random.default_rng(1)
    expected = []
    for k in range(3):
        expected += list(rng.permutation(np.where(labels == k)[0])[:2])
    assert few_indices(labels, 3, 2, 1).tolist() == expected
    # More shots only add to fewer, and a class may have fewer than asked for.
    assert set(few_indices(labels, 3, 1, 1)) < set(few_indices(labels, 3, 25, 1))
    assert len(few_indices(labels, 3, 25, 1)) == 8


def test_few_shot_improves_with_shots_and_repeats() -> None:
    train, test = blobs(200, 16, spread=2.0), blobs(100, 16, seed=1, spread=2.0)
    found = few_shot(train, test, 4, (1, 25))
    assert list(found) == ["fewshot_1", "fewshot_1_std", "fewshot_25", "fewshot_25_std"]
    assert 0.25 < found["fewshot_1"] < found["fewshot_25"] <= 1
    assert few_shot(train, test, 4, (1, 25)) == found
    assert list(few_shot(train, test, 4, (5,), seeds=1)) == ["fewshot_5"]


def test_neighbours_are_scikit_learns_with_dinos_weights() -> None:
    from sklearn.neighbors import KNeighborsClassifier

    train, test = blobs(120, 16, spread=2.0), blobs(60, 16, seed=1, spread=2.0)

    def unit(x: Tensor) -> np.ndarray:
        return torch.nn.functional.normalize(x.double(), dim=1).numpy()

    def weights(distance: np.ndarray) -> np.ndarray:
        return np.exp((1 - distance) / 0.07)

    model = KNeighborsClassifier(20, weights=weights, metric="cosine").fit(unit(train.x), train.y.numpy())
    expected = (model.predict(unit(test.x)) == test.y.numpy()).mean()
    found = nearest_neighbours(train, test, 4, chunk=7)
    assert found == {"knn_20": pytest.approx(expected)} and 0.4 < expected < 1
    assert list(nearest_neighbours(blobs(8, 16), test, 4)) == ["knn_8"]


def test_several_numbers_of_neighbours_are_each_one_alone() -> None:
    """And one of them is the class of the point with the largest cosine, by brute force."""
    train, test = blobs(60, 6, k=7, spread=2.0), blobs(40, 6, k=7, seed=1, spread=2.0)
    found = nearest_neighbours(train, test, 7, (5, 1, 60))
    single = [nearest_neighbours(train, test, 7, (k,)) for k in (1, 5, 60)]
    assert found == single[0] | single[1] | single[2] and "knn_5_top5" in found
    right = 0
    for x, y in zip(test.x.double().numpy(), test.y.tolist(), strict=True):
        cosines = [float(x @ t / np.linalg.norm(x) / np.linalg.norm(t)) for t in train.x.double().numpy()]
        right += int(train.y[int(np.argmax(cosines))]) == y
    assert found["knn_1"] == right / 40


def test_probe_is_logistic_regression() -> None:
    from sklearn.linear_model import LogisticRegression

    train, test = blobs(160, 12, spread=2.5), blobs(200, 12, seed=1, spread=2.5)
    found = linear_probe(train, test, 4, l2s=(1e-2,))
    x, x_test = ((f.x - train.x.mean(0)) / train.x.std(0, correction=0) for f in (train, test))
    model = LogisticRegression(C=1 / (1e-2 * len(x)), max_iter=1000, tol=1e-8).fit(x.double(), train.y)
    assert found["probe"] == pytest.approx(model.score(x_test.double(), test.y.numpy()), abs=0.011)
    chosen = linear_probe(train, test, 4)
    assert chosen["probe"] > 0.5 and 1e-6 <= chosen["probe_l2"] <= 1e2


def test_probe_needs_samples_to_choose_by() -> None:
    with pytest.raises(DataError, match="linear probe"):
        linear_probe(blobs(4, 3), blobs(4, 3), 4)


def tiny() -> VisionTransformer:
    torch.manual_seed(0)
    return VisionTransformer(architecture(ModelConfig(variant="mu", patch=8), 5, 3, (16, 16))).eval()


def test_features_are_computed_once_and_without_padding() -> None:
    model, images = tiny(), torch.randint(0, 256, (6, 3, 16, 16), dtype=torch.uint8)
    batches = [
        {"image": images[:4], "label": torch.arange(4), "weight": torch.ones(4)},
        {"image": images[2:], "label": torch.tensor([9, 9, 4, 5]), "weight": torch.tensor([0.0, 0, 1, 1])},
    ]

    def prepare(x: Tensor) -> Tensor:
        return x.float() / 127.5 - 1

    found = extract(model, batches, prepare)
    assert found.y.tolist() == [0, 1, 2, 3, 4, 5] and found.x.dtype == torch.float32
    with torch.inference_mode():
        torch.testing.assert_close(found.x, model.representation(prepare(images)))
    assert not found.x.requires_grad
    with pytest.raises(DataError, match="several"):
        extract(model, [{"image": images, "label": torch.ones(6, 3)}], prepare)


def test_features_of_timms_models_are_what_their_classifier_reads() -> None:
    timm = pytest.importorskip("timm")
    model = timm.create_model("test_resnet", num_classes=3).eval()
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        features = TimmClassifier(model).representation(x)
        torch.testing.assert_close(model.get_classifier()(features), model(x))
