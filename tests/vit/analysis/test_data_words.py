"""Words that mean the same data."""

from __future__ import annotations

from tests.helpers.made_classifier import SCHEMAS, mu_config
from trainer.cli import compose
from vit.analysis.data_words import data_words


def test_they_compose_to_the_same_data() -> None:
    for words in (
        ["data=digits", "data.channels=3", "data.mean=[0.1,0.2,0.3]"],
        ["data=imagefolder", "data.root='/a folder=x'", "data.cache=true", "data.class_order=ascii"],
        ["data.shapes_samples=70", "data.class_map=null", "data.train_samples=5"],
    ):
        config = mu_config(*words)
        assert compose(["model=vit_s16", *data_words(config)], SCHEMAS).data == config.data
    assert data_words(mu_config("data=digits", "data.workers=2")) == [
        "data=digits", "data.shapes_samples=64", "data.shapes_val_samples=20"]  # fmt: skip
