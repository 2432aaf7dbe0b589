"""Evaluations with E's own vectors, means and draws: what each says of itself, and where it is kept."""

from pathlib import Path

import pytest

from tests.helpers.made_run import make_run, make_styled_run, street_config
from train import SCHEMAS
from trainer.errors import ConfigError, DataError
from vid2vid.config import EvaluatedStyle
from vid2vid.evaluate.command import Arguments, run
from vid2vid.evaluate.provenance import OWN_STYLE
from vid2vid.evaluate.run import Evaluation, evaluate_run, write_eval
from vid2vid.evaluate.styling import styled
from vid2vid.trained import LoadedRun, load_generator


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LoadedRun]:
    folder = tmp_path_factory.mktemp("runs") / "styles"
    return folder, make_styled_run(folder, variance=0.2)


def test_each_says_what_it_is_and_only_its_own_goes_to_eval_json(made: tuple[Path, LoadedRun]) -> None:
    folder, loaded = made
    found: dict[str, tuple[Evaluation, str]] = {}
    for name, kind, seed in (("own", "own", 0), ("mean", "mean", 0), ("a", "sample", 0), ("b", "sample", 1)):
        style = styled(loaded, EvaluatedStyle[kind], folder, seed)
        result = evaluate_run(loaded, clips=None, frames=None, style=style)
        found[name] = result, write_eval(folder, result, loaded).name
    plain = evaluate_run(loaded)  # where nothing is asked for: as in training
    assert plain.values["psnr"] == found["own"][0].values["psnr"] and plain.requested == {}
    assert [result.facts["style"] for result, _ in found.values()] == [
        OWN_STYLE, "mean (of each class)", "sample (drawn with seed 0)", "sample (drawn with seed 1)",
    ]  # fmt: skip
    names = [name for _, name in found.values()]
    assert names[0] == "eval.json" and len(set(names)) == 4
    assert f"style={OWN_STYLE}" in found["own"][0].start
    values = [result.values["psnr"] for result, _ in found.values()]
    assert len(set(values)) == 4
    assert found["a"][0].values["style_difference_26"] > 0
    assert "style_difference_26" not in found["mean"][0].values


def test_a_run_without_encoder_has_no_style_in_its_facts(tmp_path: Path) -> None:
    make_run(tmp_path, street_config())
    result = evaluate_run(load_generator(street_config(), tmp_path), clips=1)
    assert "style" not in result.facts and "style" not in result.start


def test_what_cannot_be_asked_is_told(made: tuple[Path, LoadedRun], tmp_path: Path) -> None:
    folder, loaded = made
    make_run(tmp_path / "plain", street_config())
    with pytest.raises(ConfigError, match="style=mean: this run has no feature encoder"):
        run(Arguments(str(tmp_path / "plain"), style=EvaluatedStyle.mean), SCHEMAS, lambda line: None)
    with pytest.raises(ConfigError, match="seed=3 is for style=sample"):
        run(Arguments(str(folder), seed=3), SCHEMAS, lambda line: None)
    with pytest.raises(DataError, match=r"fit_styles\.py run="):
        styled(loaded, EvaluatedStyle.mean, tmp_path / "plain")
