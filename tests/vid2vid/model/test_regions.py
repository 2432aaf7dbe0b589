"""Regions by hand: squares, cut-outs, boxes of labels; absent ones count nothing; D_region in the task."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from tests.helpers.made_task import configured, make_trainer, one_batch
from trainer.data.splitting import split_batch
from vid2vid.config import Region, Vid2VidStage
from vid2vid.losses import terms
from vid2vid.model.regions import cut_out, label_boxes, side, squares, weights_of

NAN = float("nan")


@pytest.mark.parametrize(
    ("box", "square", "there"),
    [
        ((10, 10, 14, 20), (7, 10, 17, 20), 1),  # the longer side about the centre
        ((0, 0, 4, 8), (0, 0, 8, 8), 1),  # moved into the frame
        ((60, 26, 64, 34), (56, 24, 64, 32), 1),
        ((0, 0, 64, 10), (16, 0, 48, 32), 1),  # no larger than the frame has room for
        ((NAN, NAN, NAN, NAN), (0, 0, 1, 1), 0),
        ((5, 5, 5, 9), (0, 0, 1, 1), 0),  # without width
        ((-20, 4, -10, 14), (0, 0, 1, 1), 0),  # outside
    ],
)
def test_squares(box: tuple[float, ...], square: tuple[float, ...], there: float) -> None:
    found, present = squares(torch.tensor(box), (32, 64))
    assert found.tolist() == list(square) and float(present) == there


def test_cut_outs_are_the_pixels_of_each_samples_own_box() -> None:
    assert [side(height) for height in (16, 32, 64, 128, 512)] == [8, 8, 16, 32, 128]
    frames = torch.rand(2, 1, 3, 32, 64)
    boxes = torch.tensor([[[[8, 4, 16, 12], [0, 0, 32, 32]]], [[[20.5, 10, 28.5, 18], [NAN] * 4]]])
    got = cut_out(frames, boxes)
    assert got.shape == (4, 3, 8, 8) and torch.isfinite(got).all()
    torch.testing.assert_close(got[0], frames[0, 0, :, 4:12, 8:16])
    torch.testing.assert_close(got[1], F.avg_pool2d(frames[0, 0, :, :, :32], 4), msg="made smaller by averages")
    between = (frames[1, 0, :, 10:18, 20:28] + frames[1, 0, :, 10:18, 21:29]) / 2
    torch.testing.assert_close(got[2], between)
    assert weights_of(boxes, (32, 64)).tolist() == [1, 1, 1, 0]


def test_boxes_of_labels() -> None:
    labels = torch.zeros(1, 2, 8, 16, dtype=torch.int16)
    labels[0, 0, 2:5, 3:10] = 7
    labels[0, 1, 7, 15] = 9
    boxes = label_boxes(labels, [7, 9])
    assert boxes[0, 0, 0].tolist() == [3, 2, 10, 5] and boxes[0, 1, 1].tolist() == [15, 7, 16, 8]
    assert boxes[0, 0, 1].isnan().all() and boxes[0, 1, 0].isnan().all()
    labels[0, 1, 0, 0] = 40000 - (1 << 16)  # as 16 bits hold it
    assert label_boxes(labels, [40000])[0, 1, 0].tolist() == [0, 0, 1, 1]


def test_of_several_instances_the_largest_one_of_the_frame_counts() -> None:
    labels, instances = torch.zeros(2, 2, 8, 16, dtype=torch.int16), torch.zeros(2, 2, 8, 16, dtype=torch.int32)
    labels[..., 1:3, 1:4], labels[..., 4:7, 8:13] = 26, 26
    instances[..., 1:3, 1:4], instances[..., 4:7, 8:13] = 26001, 26000
    labels[..., 0, :], instances[..., 0, :] = 24, 24007  # larger than any, but of another label
    labels[1, 1][instances[1, 1] == 26000] = 7
    boxes = label_boxes(labels, [26], instances)
    assert boxes[1, 1, 0].tolist() == [1, 1, 4, 3]
    assert boxes[:, 0, 0].tolist() == [[8, 4, 13, 7]] * 2 and boxes[0, 1, 0].tolist() == [8, 4, 13, 7]
    assert label_boxes(labels, [26])[0, 0, 0].tolist() == [1, 1, 13, 7]
    assert label_boxes(labels, [9], instances).isnan().all()


def test_losses_weigh_each_input() -> None:
    """Predictions 0 and 1, features 0.5 apart: the second counts nothing, and the mean is over both."""
    fake = [[torch.zeros(2, 1, 2, 2), torch.tensor([0.0, 3.0]).view(2, 1, 1, 1)]]
    real = [[torch.full((2, 1, 2, 2), 0.5), torch.tensor([0.5, 5.0]).view(2, 1, 1, 1)]]
    weights = torch.tensor([1.0, 0.0])
    assert float(terms.gan_generator(fake, weights=weights)) == pytest.approx(0.5)
    assert float(terms.feature_matching(fake, real, weights)) == pytest.approx(4 * 0.5 / 2)
    found = terms.discriminator([(real, [fake])], weights=[weights])
    assert float(found["real"]) == pytest.approx(0.5 * 0.25 / 2) and float(found["fake"]) == 0.0


def test_regions_of_labels_train_a_discriminator_of_their_own(tmp_path: Path) -> None:
    words = ["model.regions=[labels]", "model.region_labels=[26,21]", "trainer.max_steps=1", "model.lambda_region=3"]
    words += ["model.gan=lsgan", "model.r1_gamma=0", "model.r2_gamma=0"]
    trainer, task = make_trainer(configured(*words, stages={"all": Vid2VidStage(frames=3, batch_size=2)}), tmp_path)
    batch, ctx = one_batch(trainer)
    assert trainer.active[-1].name == "d_region" and set(trainer.parameters["d_region"])
    batch["labels"][1] = 21  # no car anywhere in the second clip
    segment = next(task.segments(batch, ctx))
    found = task.losses("g", segment, ctx)
    own = task.losses("d_region", segment, ctx)
    made = task.passes.generate(segment, ctx).frames.detach()
    real = batch["images"].float() / 127.5 - 1
    boxes = label_boxes(batch["labels"], [26, 21], batch["instances"])
    weights = weights_of(boxes, (32, 64))
    assert 0 < int(weights.sum()) < len(weights) == 2 * 3 * 2
    assert task.nets.d_region is not None
    task.nets.d_region.requires_grad_(False)
    total, feature, judged = 0.0, 0.0, 0.0
    for fake_cut, real_cut, weight in zip(cut_out(made, boxes), cut_out(real, boxes), weights, strict=True):
        if float(weight):
            fakes, reals = (task.nets.d_region(x[None], Region.labels) for x in (fake_cut, real_cut))
            total += float(terms.gan_generator(fakes)) / len(weights)
            feature += float(terms.feature_matching(fakes, reals)) / len(weights)
            judged += float(sum(terms.gan_discriminator(reals, fakes))) / 2 / len(weights)
    assert float(found["gan_region_labels"].detach()) == pytest.approx(3 * total, rel=1e-4)
    assert float(found["feature_region_labels"].detach()) == pytest.approx(3 * 10 * feature, rel=1e-4)
    assert float((own["real"] + own["fake"]).detach()) == pytest.approx(judged, rel=1e-4)
    parts = [next(task.segments(part, ctx)) for part in split_batch(batch, 2)]
    halves = [float(task.losses("g", part, ctx)["gan_region_labels"].detach()) for part in parts]
    assert sum(halves) / 2 == pytest.approx(3 * total, rel=1e-3), "however the batch is split"


def test_frames_without_any_region_change_nothing(tmp_path: Path) -> None:
    words = ["model.regions=[face,hands]", "trainer.max_steps=1", "data.flow=none", "model.video_discriminator=false"]
    words += ["model.lambda_output_warp=0", "model.lambda_flow=0", "model.lambda_flow_warp=0", "model.lambda_mask=0"]
    trainer, task = make_trainer(configured(*words, stages={"all": Vid2VidStage(frames=3)}), tmp_path)
    batch, ctx = one_batch(trainer)
    batch["regions"] = torch.full((1, 3, 3, 4), NAN)
    segment = next(task.segments(batch, ctx))
    found = task.losses("g", segment, ctx)
    assert all(
        float(found[f"{name}_region_{kind}"].detach()) == 0 for name in ("gan", "feature") for kind in ("face", "hands")
    )
    sum(task.losses("d_region", segment, ctx).values(), torch.zeros(())).backward()
    assert task.nets.d_region is not None
    assert all(p.grad is not None and not p.grad.any() for p in task.nets.d_region.parameters())
    gradient = torch.autograd.grad(
        torch.stack(list(found.values())).sum(), list(task.nets.generator.parameters()), allow_unused=True
    )
    assert all(g is None or torch.isfinite(g).all() for g in gradient)
