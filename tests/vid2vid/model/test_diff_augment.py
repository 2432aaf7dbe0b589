"""DiffAugment by hand: colours of two pixels, where a pixel goes, what is cut out, and who sees the same draw."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.made_task import configured, make_trainer, one_batch
from trainer.data.splitting import split_batch
from trainer.nonfinite.dump import plain_tensors
from vid2vid.config import Augmentation, Vid2VidStage
from vid2vid.model.diff_augment import DiffAugment

ALL = list(Augmentation)


def test_colour_of_two_pixels() -> None:
    """Brightness first, then saturation about each pixel's grey, then contrast about the frame's level."""
    x = torch.tensor([[0.0, 0.3], [0.3, 0.3], [0.6, 0.3]]).view(3, 1, 2)
    got = DiffAugment(brightness=0.1, saturation=2.0, contrast=0.5).frames(x)
    # 0.1 0.4 0.7 | 0.4 0.4 0.4, then -0.2 0.4 1.0 | 0.4 0.4 0.4, whose level is 0.4
    torch.testing.assert_close(got[:, 0], torch.tensor([[0.1, 0.4], [0.4, 0.4], [0.7, 0.4]]))
    frames = torch.rand(2, 3, 3, 4, 4)
    together = DiffAugment(contrast=1.5).frames(frames)
    torch.testing.assert_close(together[1, 2], DiffAugment(contrast=1.5).frames(frames[1, 2]), msg="frame by frame")


def test_a_shift_moves_by_whole_pixels_and_fills_with_zeros() -> None:
    x = torch.arange(1.0, 16 * 32 + 1).view(1, 16, 32)
    got = DiffAugment(shift=(0.99, 0.0)).maps(x)  # an eighth: of 5 vertical places the last, of 9 horizontal the first
    assert torch.equal(got[:, 2:, :-4], x[:, :-2, 4:])
    assert not got[:, :2].any() and not got[:, :, -4:].any()
    assert torch.equal(DiffAugment(shift=(0.5, 0.5)).maps(x), x)


@pytest.mark.parametrize(
    ("centre", "rows", "columns"),
    [((0.5, 0.5), (2, 6), (4, 12)), ((0.0, 0.99), (0, 2), (12, 16)), ((0.99, 0.0), (6, 8), (0, 4))],
)
def test_half_of_each_side_is_cut_out(
    centre: tuple[float, float], rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    got = DiffAugment(cut=centre).maps(torch.ones(2, 8, 16))
    expected = torch.ones(8, 16)
    expected[slice(*rows), slice(*columns)] = 0
    assert torch.equal(got, expected.expand(2, 8, 16))


def test_draws_are_of_the_kinds_that_are_wanted() -> None:
    def draw(*kinds: Augmentation, seed: int = 0) -> DiffAugment:
        return DiffAugment.draw(kinds, np.random.default_rng(seed))

    assert draw() == DiffAugment()
    whole = draw(*ALL)
    assert draw(Augmentation.colour) == DiffAugment(whole.brightness, whole.saturation, whole.contrast)
    assert draw(Augmentation.shift) == DiffAugment(shift=whole.shift)
    assert draw(Augmentation.cutout) == DiffAugment(cut=whole.cut)
    many = [draw(*ALL, seed=seed) for seed in range(300)]
    for name, low, high in (("brightness", -0.5, 0.5), ("saturation", 0, 2), ("contrast", 0.5, 1.5)):
        values = [getattr(each, name) for each in many]
        assert low <= min(values) < low + 0.05 * (high - low) and high - 0.05 * (high - low) < max(values) <= high
    x = torch.ones(1, 16, 16)
    places = {tuple(DiffAugment(shift=each.shift).maps(x)[0].nonzero()[0].tolist()) for each in many}
    assert len(places) == 9, "shifts by -2..2, of which those towards the start begin at 0"


def test_the_gradient_is_that_of_the_function() -> None:
    augment = DiffAugment(0.2, 1.5, 0.7, (0.1, 0.9), (0.3, 0.8))
    x = torch.rand(2, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(augment.frames, x)


def test_one_draw_for_labels_frames_and_flow_however_the_batch_is_split(tmp_path: Path) -> None:
    words = ["trainer.max_steps=1", "model.diff_augment=[colour,shift,cutout]"]
    config = configured(*words, stages={"all": Vid2VidStage(frames=6, batch_size=2)})
    trainer, task = make_trainer(config, tmp_path)
    batch, ctx = one_batch(trainer)
    seen: list[tuple[torch.Tensor, ...]] = []
    assert task.nets.d_image is not None and task.nets.d_video is not None
    task.nets.d_image.register_forward_pre_hook(lambda net, x: seen.append((x[0], x[2])))
    task.nets.d_video.register_forward_pre_hook(lambda net, x: seen.append((x[0],)))
    with torch.no_grad():
        pieces = list(task.segments(batch, ctx))
    drawn = [DiffAugment(**plain_tensors(piece["augment"])) for piece in pieces]
    assert drawn == [DiffAugment(**piece["augment"]) for piece in pieces], "a dump holds it"
    assert drawn[0] != drawn[1]
    for part in split_batch(batch, 2):
        with torch.no_grad():
            assert [piece["augment"] for piece in task.segments(part, ctx)] == [piece["augment"] for piece in pieces]
    first, augment = pieces[0], drawn[0]
    with torch.no_grad():
        made = task.passes.generate(first, ctx).frames
        task.passes.image_discriminator(first, ctx)
        first.data["window_phases"] = [0]
        task.passes.video_discriminators(first, ctx)
    (frames, condition), (windows,) = seen
    real = batch["images"][:, :3].float() / 127.5 - 1
    torch.testing.assert_close(frames[:6], augment.frames(real).flatten(0, 1), rtol=0, atol=1e-6)
    torch.testing.assert_close(frames[6:12], augment.frames(made).flatten(0, 1), rtol=0, atol=1e-6)
    labels = task.nets.encoder.encode({"labels": batch["labels"][:, :3], "instances": batch["instances"][:, :3]})
    assert torch.equal(condition, augment.maps(labels).flatten(0, 1))
    torch.testing.assert_close(windows[:2, :9], augment.frames(real).flatten(1, 2), rtol=0, atol=1e-6)
    flow = batch["flow"][:, 1:3].float() / 20
    torch.testing.assert_close(windows[2:, 9:], augment.maps(flow).flatten(1, 2), rtol=0, atol=1e-6)
