"""Runs whose D_I segments: what it minimises, what reaches the generator, and what stays a function of the position."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor

from tests.helpers.made_task import configured, make_trainer, one_batch
from train import SCHEMAS
from trainer.cli import compose
from trainer.config.resolve import check_resume, plain
from trainer.data.splitting import split_batch
from trainer.errors import CheckpointError
from vid2vid import segments as parts
from vid2vid.config import Vid2VidStage
from vid2vid.losses import segmenting
from vid2vid.losses.objective import motion_losses
from vid2vid.losses.penalties import squared_gradient
from vid2vid.model.segmenting import log_odds
from vid2vid.task import Vid2VidTask
from vid2vid.validate import problems

WORDS = ["model.image_discriminator=segmenting", "trainer.max_steps=2", "model.discriminator_layers=2"]
PENALISED = ["model.r1_gamma=1", "model.r2_gamma=1", "model.segmenting_gamma=null", "model.penalty_every=1"]


def ids_of(task: Vid2VidTask, batch: dict[str, Tensor], frames: slice) -> Tensor:
    return task.nets.encoder.class_channels(batch["labels"][:, frames]).flatten(0, 1)


def test_it_minimises_balanced_cross_entropy_and_label_mix_and_penalties_of_its_log_odds(tmp_path: Path) -> None:
    words = [*WORDS, *PENALISED, "model.gan=relativistic", "data.ignore_label=[255,23]", "model.label_mix=3"]
    words += ["model.label_ids=[7,8,11,21,24,26]"]
    trainer, task = make_trainer(configured(*words), tmp_path)
    batch, ctx = one_batch(trainer)
    second = list(task.segments(batch, ctx))[1]
    task.losses("g", second, ctx)
    found = {name: float(value.detach()) for name, value in task.losses("d_image", second, ctx).items()}
    assert list(found) == ["real", "fake", "label_mix", "r1", "r2"]
    ids, net = ids_of(task, batch, slice(3, 6)), task.nets.d_image
    assert net is not None and ids.shape == (3, 32, 64) and bool((ids == -1).any())
    known = ids >= 0
    with torch.no_grad():
        out = task.passes.generate(second, ctx)
        real, composed, raw = (x[0] for x in (parts.real(second), out.frames, out.hallucination))
        logits = [net(x)[0][-1] for x in (real, composed, raw)]
    classes = [c for c in range(6) if bool((ids == c).any())]
    assert len(classes) > 3
    means = [F.cross_entropy(logits[0], torch.where(ids == c, ids, -1), ignore_index=-1) for c in classes]
    assert found["real"] == pytest.approx(float(torch.stack(means).mean()), rel=1e-4)
    made = [F.cross_entropy(x, torch.where(known, 6, -1), ignore_index=-1) for x in logits[1:]]
    assert found["fake"] == pytest.approx(float(torch.stack(made).mean()), rel=1e-4)

    mask = segmenting.mixing_mask(task.passes.classes(second), torch.Generator().manual_seed(second["mix_seed"]))
    assert 0 < float(mask.mean()) < 1
    with torch.no_grad():
        of_mixed = net(mask * real + (1 - mask) * composed)[0][-1]
    square = (of_mixed - mask * logits[0] - (1 - mask) * logits[1]).square().mean(1)[known].mean()
    assert found["label_mix"] == pytest.approx(3 * float(square), rel=1e-4)
    judge = net
    gradients = [squared_gradient(lambda x: log_odds(judge.forward(x)), x).detach() for x in (real, composed, raw)]
    assert found["r1"] == pytest.approx(0.5 * float(gradients[0]), rel=1e-4)
    assert found["r2"] == pytest.approx(0.25 * float(gradients[1] + gradients[2]), rel=1e-4)


def test_gammas_of_its_own(tmp_path: Path) -> None:
    """Twice those of D_V for D_I, then none; D_V keeps its own."""
    found = {}
    for gamma in ("null", "2", "0"):
        words = [*WORDS, *PENALISED, "model.gan=relativistic", f"model.segmenting_gamma={gamma}"]
        trainer, task = make_trainer(configured(*words), tmp_path / gamma)
        batch, ctx = one_batch(trainer)
        second = list(task.segments(batch, ctx))[1]
        task.losses("g", second, ctx)
        for phase in ("d_image", "d_video"):
            found[gamma, phase] = {name: float(x.detach()) for name, x in task.losses(phase, second, ctx).items()}
    for name in ("r1", "r2"):
        image, video = (found["null", phase][name] for phase in ("d_image", "d_video"))
        assert image > 0 and found["2", "d_image"][name] == pytest.approx(2 * image, rel=1e-4)
        assert name not in found["0", "d_image"]
        assert video > 0 and found["0", "d_video"][name] == pytest.approx(video, rel=1e-4)


def test_alone_it_is_penalised_by_its_own_gamma(tmp_path: Path) -> None:
    words = [*WORDS, "model.gan=lsgan", "model.r1_gamma=0", "model.r2_gamma=0", "model.penalty_every=1"]
    trainer, task = make_trainer(configured(*words, "model.segmenting_gamma=1"), tmp_path)
    batch, ctx = one_batch(trainer)
    first = next(task.segments(batch, ctx))
    task.losses("g", first, ctx)
    assert {"r1", "r2"} < set(task.losses("d_image", first, ctx))
    assert not {"r1", "r2"} & set(task.losses("d_video", first, ctx))


def test_the_generator_gets_the_gradient_of_plain_passes(tmp_path: Path) -> None:
    words = [*WORDS, "model.segmenting_feature_matching=true", "model.video_discriminator=false", "model.lambda_l1=0"]
    trainer, task = make_trainer(configured(*words), tmp_path)
    batch, ctx = one_batch(trainer)
    segment, net = next(task.segments(batch, ctx)), task.nets.d_image
    found = task.losses("g", segment, ctx)
    assert net is not None and {"gan", "feature"} < found.keys()
    got = torch.autograd.grad(
        torch.stack(list(found.values())).sum(), list(task.nets.generator.parameters()), allow_unused=True
    )
    fresh = next(task.segments(batch, ctx))
    out, ids = task.passes.generate(fresh, ctx), ids_of(task, batch, slice(3))
    *real, _ = net(parts.real(fresh)[0])[0]
    total = torch.stack(list(motion_losses(task.passes, fresh, out, ctx).values())).sum()
    weights = torch.zeros_like(ids, dtype=torch.float32)
    for c in ids.unique():
        weights[ids == c] = 1 / (ids == c).sum() / len(ids.unique())
    for fake in (out.frames[0], out.hallucination[0]):
        *features, logits = net(fake)[0]
        total = total + (F.cross_entropy(logits, ids, reduction="none") * weights).sum()
        distances = [F.l1_loss(f, r.detach()) for f, r in zip(features, real, strict=True)]
        total = total + 10 * 4 / len(features) * torch.stack(distances).sum()
    expected = torch.autograd.grad(total, list(task.nets.generator.parameters()), allow_unused=True)
    scale = max(float(e.abs().max()) for e in expected if e is not None)
    for g, e in zip(got, expected, strict=True):
        assert (g is None) == (e is None)
        if g is not None and e is not None:
            torch.testing.assert_close(g, e, rtol=1e-3, atol=1e-5 * scale)


def test_one_draw_for_all_clips_of_a_batch_and_another_for_each_segment(tmp_path: Path) -> None:
    config = configured(*WORDS, stages={"all": Vid2VidStage(frames=6, batch_size=2)})
    trainer, task = make_trainer(config, tmp_path)
    batch, ctx = one_batch(trainer)
    with torch.no_grad():
        seeds = [piece["mix_seed"] for piece in task.segments(batch, ctx)]
        for part in split_batch(batch, 2):
            assert [piece["mix_seed"] for piece in task.segments(part, ctx)] == seeds
    assert seeds[0] != seeds[1]


@pytest.mark.parametrize("words", [["trainer.precision=bf16"], ["model.label_mix=0", "model.norm=none"]])
def test_it_trains(tmp_path: Path, words: list[str]) -> None:
    extra = ["model.diff_augment=[colour,shift,cutout]", "model.regions=[labels]", "model.region_labels=[26]"]
    trainer, task = make_trainer(configured(*WORDS, *PENALISED, *extra, *words), tmp_path)
    assert task.nets.d_image is not None
    before = {name: x.clone() for name, x in task.nets.d_image.state_dict().items()}
    trainer.fit()
    moved = {name for name, x in task.nets.d_image.state_dict().items() if not torch.equal(x, before[name])}
    assert {name.split(".")[0] for name in moved} == {"down", "up", "head"}
    assert not any("d_image" in note for note in task.notes())


def test_patch_is_what_true_is(tmp_path: Path) -> None:
    """A run of the one goes on by the other word."""
    config = configured("model.image_discriminator=patch")
    assert config.model.image_discriminator is True and config == configured()
    (tmp_path / "checkpoints/latest").mkdir(parents=True)
    stored = plain(configured())
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(stored))
    assert stored["model"]["image_discriminator"] is True and check_resume(config, tmp_path) == []
    with pytest.raises(CheckpointError, match=r"model\.image_discriminator: true -> segmenting"):
        check_resume(configured(*WORDS), tmp_path)


def test_without_classes_it_is_refused() -> None:
    config = configured("model.image_discriminator=segmenting", "model.source=image", "model.foreground=off")
    assert [line for line in problems(config) if "image_discriminator" in line] == [
        "model.image_discriminator=segmenting tells the classes of label maps apart, but model.source=image has none: "
        "use patch"
    ]


def test_frames_that_are_too_small_name_what_mends_it() -> None:
    """``model=vid2vid`` has such a D_I of its own accord: who has not asked for it is told of the other one."""
    words = ["model=vid2vid", "resolution=[32,64]"]  # half of which is 16 high in the curriculum's first stages
    (line,) = problems(compose(words, SCHEMAS))
    assert "at least 32 high and wide" in line and line.endswith("or set model.image_discriminator=patch")
    assert problems(compose([*words, "model.image_discriminator=patch"], SCHEMAS)) == []
