"""Both real models lose the same in ten steps of SGD on one, two and four processes, with every strategy.

What each process draws by itself is off (dropout; changes of pictures are drawn by sample); there is no batch norm.
Gradients are clipped, so a norm that is not the global one shows; rows are uneven: ten classes, three colours.
"""

import json
from pathlib import Path

import pytest

from tests.helpers.ranks import Ranks

STEPS = 10
WITHIN = 1e-5  # of a loss, absolute below 1 and relative above
COMMON = [
    *("trainer.precision=fp32", "trainer.device=cpu", "data.workers=0", "schedule=constant"),
    *("logger.tensorboard=false", "logger.curves=false", "trainer.log_every=1"),
    *("trainer.eval_every=null", "trainer.visuals_every=0", "trainer.checkpoint_every=100"),
    *(f"trainer.max_steps={STEPS}", "trainer.max_samples=null", "trainer.micro_batch=null"),
]
WORDS = {
    "vit_mu": [
        *("model.dropout=0", "data.shapes_samples=40", "data.shapes_val_samples=10"),
        *("curriculum.stages.all.batch_size=8", "optim.main.kind=sgd", "optim.main.lr=0.05", "optim.main.clip=0.5"),
    ],
    # Small rates for the generator: where its losses have kinks, fp32's rounding becomes more than rounding.
    "vid2vid_tiny": [
        *("curriculum.stages.all.batch_size=4", "model.flow_init=0.1"),
        *(f"optim.{phase}.{word}" for phase in ("g", "d_image", "d_video") for word in ("kind=sgd", "momentum=0.5")),
        *("optim.g.lr=1e-6", "optim.d_image.lr=1e-4", "optim.d_video.lr=1e-4"),
        *("optim.g.clip=100", "optim.d_image.clip=5", "optim.d_video.clip=4"),
    ],
}
STRATEGIES = {"vit_mu": ("flat", "ddp", "fsdp2"), "vid2vid_tiny": ("flat", "fsdp2")}
HALVES = "curriculum.stages.all.accumulate=2"
GOES_ON = {2: 4, 4: 6, 1: STEPS}  # a run that is sharded over two processes, then four, then goes on as one: until when


def runs(world: int) -> dict[str, list[str]]:
    """Runs of so many processes: words by name."""
    found = {}
    for model, strategies in STRATEGIES.items():
        words = [f"model={model}", *COMMON, *WORDS[model]]
        found[f"{model}-goes on"] = [*words, "trainer.strategy=fsdp2", f"trainer.max_steps={GOES_ON[world]}"]
        if world == 1:
            found[model] = words
            continue
        for strategy in strategies:
            found[f"{model}-{world} {strategy}"] = [*words, f"trainer.strategy={strategy}"]
            if model == "vit_mu" and world == 4:
                found[f"{model}-{world} {strategy} in halves"] = [*words, f"trainer.strategy={strategy}", HALVES]
        if world == 4:
            found[f"{model}-{world} hybrid"] = [*words, "trainer.strategy=fsdp2", "trainer.shard_group=2"]
    return found


def train(rank: int, folder: str, world: int) -> None:
    """All runs of so many processes, one after the other in the same ones."""
    from train import SCHEMAS, build_task
    from trainer.cli import compose
    from trainer.loop import Trainer

    for name, words in runs(world).items():
        config = compose(words, SCHEMAS)
        trainer = Trainer(config, lambda c=config: build_task(c), Path(folder) / name)  # type: ignore[misc]
        trainer.fit()
        assert world == 1 or trainer.parallel.strategy is config.trainer.strategy


def losses(run_dir: Path) -> list[dict[str, float]]:
    """Of every step, the mean over all processes."""
    records = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in r["losses"].items() if "/" in k and "norm" not in k} for r in records if "losses" in r]


@pytest.mark.slow
def test_losses_are_those_of_one_process(tmp_path: Path) -> None:
    for world in GOES_ON:
        ends = Ranks(tmp_path / f"said-{world}", world, train, (str(tmp_path), world)).start().wait(400)
        assert all(end.code == 0 for end in ends), [end.complained[-2000:] for end in ends]
    compared = 0
    for run in sorted(path.parent for path in tmp_path.glob("*/metrics.jsonl")):
        expected = losses(tmp_path / run.name.split("-")[0])
        assert len(expected) == STEPS
        for step, (one, several) in enumerate(zip(expected, losses(run), strict=True), 1):
            assert several.keys() == one.keys()
            worst = max((abs(several[name] - value) / max(1.0, abs(value)), name) for name, value in one.items())
            assert worst[0] <= WITHIN, (run.name, step, worst)
        compared += 1
        moved = max(abs(expected[-1][name] - value) for name, value in expected[0].items())
        assert moved > 1000 * WITHIN
    assert compared == len({name for world in GOES_ON for name in runs(world)}) == 19
