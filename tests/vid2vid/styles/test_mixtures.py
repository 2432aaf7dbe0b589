"""styles.json there and back, what is drawn from it, and styles of another run."""

from pathlib import Path

import numpy as np
import pytest

from trainer.errors import DataError
from vid2vid.styles.mixtures import ClassStyles, Component, Styles, check_styles, read_styles
from vid2vid.styles.whose import Encoder

SPREAD = [[0.04, 0.01, 0], [0.01, 0.02, 0], [0, 0, 0.0001]]
CAR = ClassStyles(26, "car", True, 100, [0.1, 0, 0], [
    Component(0.75, 75, [0.3, 0, 0], SPREAD), Component(0.25, 25, [-0.5, 0, 0], [[0.0] * 3] * 3),
], {"1": -10.0, "2": -20.5})  # fmt: skip
STYLES = Styles(3, {26: CAR, 7: ClassStyles(7, "", False, 1, [0.0] * 3, [CAR.components[1]])}, {"step": 7})


def test_what_was_written_is_read(tmp_path: Path) -> None:
    STYLES.write(tmp_path / "styles.json")
    found = read_styles(tmp_path / "styles.json")
    assert found == STYLES and found.things == {26}


def test_draws_follow_weights_means_and_covariances() -> None:
    rng = np.random.default_rng(0)
    drawn = np.stack([CAR.draw(rng) for _ in range(4000)])
    second = np.isclose(drawn, [-0.5, 0, 0]).all(axis=1)
    assert second.mean() == pytest.approx(0.25, abs=0.02)
    assert drawn[~second].mean(axis=0) == pytest.approx([0.3, 0, 0], abs=0.015)
    assert np.cov(drawn[~second].T) == pytest.approx(np.array(SPREAD), abs=0.002)
    assert drawn.dtype == np.float32


def test_draws_stay_where_features_lie() -> None:
    wide = ClassStyles(1, "", False, 1, [0.0], [Component(1.0, 1, [0.9], [[4.0]])])
    assert max(abs(float(wide.draw(np.random.default_rng(i))[0])) for i in range(50)) == 1


def test_a_missing_or_broken_file_names_the_command(tmp_path: Path) -> None:
    path = tmp_path / "styles.json"
    with pytest.raises(DataError, match=rf"does not exist: python scripts/fit_styles.py run={tmp_path} writes it"):
        read_styles(path)
    for text in ("{", '{"version": 1}', '{"version": 2}'):
        path.write_text(text)
        with pytest.raises(DataError, match=r"fit_styles\.py"):
            read_styles(path)
    Styles(2, STYLES.classes).write(path)
    with pytest.raises(DataError, match="vectors of 3 numbers, but channels=2"):
        read_styles(path)


def test_styles_of_another_run_are_refused() -> None:
    path, own = Path("runs/a/styles.json"), Encoder("01ab", "a", 7)
    fitted = Styles(3, STYLES.classes, own.facts())
    assert check_styles(fitted, path, [7, 8, 26], 3, own) == ""
    assert check_styles(fitted, path, [7, 8, 26], 3, Encoder("01ab", "renamed", 9)) == ""  # the same weights
    assert "is of step 7, these weights are of step 9" in check_styles(
        fitted, path, [7, 8, 26], 3, Encoder("ff", "a", 9)
    )
    with pytest.raises(DataError, match=r"classes 7, 26, but this run's are 7, 8: 26 .*run=runs/a"):
        check_styles(fitted, path, [7, 8], 3, own)
    with pytest.raises(DataError, match=r"vectors of 3 numbers, this run has model\.style_channels=4"):
        check_styles(fitted, path, [7, 26], 4, own)
    for other in (Encoder("ff", "b", 9), Encoder("ff", "a", 7)):  # another run, or the same name trained anew
        with pytest.raises(DataError, match=r'another run \(a, step 7\).*fit_styles.py run=runs/a.*"encoder": null'):
            check_styles(fitted, path, [7, 26], 3, other)
        assert check_styles(Styles(3, STYLES.classes, {**own.facts(), "encoder": None}), path, [7, 26], 3, other) == ""


def test_styles_that_do_not_tell_whose_they_are_can_be_used() -> None:
    """As they were written before encoders were kept."""
    path, own = Path("runs/a/styles.json"), Encoder("01ab", "a", 7)
    assert "does not tell which run's feature encoder it is of" in check_styles(STYLES, path, [7, 26], 3, own)
    assert "is of step 7, these" in check_styles(STYLES, path, [7, 26], 3, Encoder("01ab", "a", 9))
