"""Flags and words of other training scripts are answered with the keys that say the same here."""

from __future__ import annotations

import re

import pytest

from train import SCHEMAS
from trainer.cli import compose, hydra_flags
from trainer.config.foreign_flags import _ABSENT, _FLAGS, absent, check_flags
from trainer.errors import ConfigError

VALUES = {"optim": "sgd", "data": "cifar10", "schedule": "cosine", "augment.auto": "rand-m9-mstd0.5-inc1"}


def told(*words: str) -> str:
    with pytest.raises(ConfigError) as caught:
        check_flags(words, hydra_flags())
    return str(caught.value)


def test_flags_of_timms_script() -> None:
    text = told("--model", "vit_small_patch16_224", "--epochs=5", "-b", "16", "model=vit_s16", "--amp")
    for line in (
        "--model vit_small_patch16_224: settings are key=value here: model=timm model.name=vit_small_patch16_224",
        "--epochs=5: settings are key=value here: trainer.max_epochs=5",
        "-b 16: settings are key=value here: curriculum.stages.all.batch_size=16",
        "--amp: settings are key=value here: trainer.precision=bf16",
    ):
        assert line in text
    assert "--patience 3: settings are key=value here; nothing stops a run early" in told("--patience", "3")
    assert "--wibble: settings are key=value here, like wibble=..." in told("--wibble")


def test_hydras_own_flags_pass() -> None:
    check_flags(
        ["-m", "--multirun", "seed=0,1", "--cfg", "job", "-cd", "x", "--config-dir=y", "~data", "a=-1"], hydra_flags()
    )


@pytest.mark.parametrize("flag", [flag for flag in _FLAGS if flag != "resume"])
def test_every_key_that_is_told_exists(flag: str) -> None:
    words = _FLAGS[flag].replace("timm:NAME", "timm:vit_small_patch16_224").split()
    made = []
    for word in words:
        key, _, value = word.partition("=")
        made.append(f"{key}={VALUES.get(key, _fitting(key)) if value == 'VALUE' else value}")
    base = [] if made[0].startswith("model=") else ["model=vit_mu"]
    compose([*base, *(["optim=sgd"] if "momentum" in made[0] else []), *made], SCHEMAS)


def _fitting(key: str) -> str:
    if key in ("model.name", "name", "model.weights", "data.root"):
        return "vit_small_patch16_224"
    if key == "trainer.device":
        return "cpu"
    return (
        "224"
        if key == "resolution"
        else "0.5"
        if re.search("lr|decay|dropout|drop_path|augment|ema|loss", key)
        else "5"
    )


def test_words_for_what_there_is_none_of(run_train) -> None:
    done = run_train("model=vit_mu", "trainer.early_stopping=5")
    assert done.returncode == 2 and "trainer.keep_best=top1" in done.stderr
    assert all(absent(word) and absent(f"trainer.{word}") for word in _ABSENT)
    keys = set(re.findall(r"\b((?:data|trainer|loss)\.(?!md)\w+)", " ".join(_ABSENT.values())))
    config = compose(["model=vit_mu"], SCHEMAS)
    for key in keys:
        group, _, name = key.partition(".")
        assert hasattr(getattr(config, group), name), key
