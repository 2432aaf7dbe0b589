"""Keys that are nearly right."""

from trainer.config.suggestions import suggest_key


def test_suggestions() -> None:
    known = ["model.ngf", "model.ndf", "trainer.max_steps", "optim.g.lr"]
    assert suggest_key("trainer.maxsteps", known) == "trainer.max_steps"
    assert suggest_key("model.lr", known) == "optim.g.lr"
    assert suggest_key("zebra", known) is None
