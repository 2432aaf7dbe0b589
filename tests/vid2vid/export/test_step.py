"""One step of F as a network of its own makes, step by step, what the generator makes of whole clips."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.helpers.made_step import IDS, VARIANTS, made
from vid2vid.encoding import instance_edges
from vid2vid.export.loop import by_model, first_inputs, made_condition, play
from vid2vid.export.step import KNOWN, LABELS, STYLE, WARPED, Step, _edges


def runner(step: Step):
    """A step in place of the file that would be made of it."""

    def run(given: Any) -> dict[str, Tensor]:
        assert list(given) == step.inputs
        with torch.inference_mode():
            return dict(zip(step.outputs, step(*given.values()), strict=True))

    return run


@pytest.mark.parametrize("name", VARIANTS)
def test_steps_in_a_loop_make_what_the_generator_makes_of_whole_clips(name: str) -> None:
    generator, encoder = made(**VARIANTS[name])
    step = Step(generator, encoder).eval()
    condition = made_condition(step, encoder, 2, 4, (16, 32))
    expected = by_model(step, encoder, condition)
    found = play(runner(step), step, condition)
    assert set(found) == set(expected) and (found["frame"].shape, len(found)) == ((2, 4, 3, 16, 32), len(expected))
    for output, value in expected.items():
        torch.testing.assert_close(found[output], value, rtol=0, atol=2e-5)
    assert expected["frame"].std() > 0.02 and (found["frame"][:, 0] - found["frame"][:, -1]).abs().max() > 0.02
    if generator.has_flow:
        assert found["flow"][:, 0].abs().max() == 0 and found["mask"][:, 0].min() == 1  # no past, nothing to warp
        assert found["flow"][:, 1:].abs().max() > 0.1


def test_fewer_scales_than_the_generator_has() -> None:
    generator, encoder = made(scales=2)
    step = Step(generator, encoder, scales=1)
    assert step.pasts == ["past_0"] and step.divisor == 4
    condition = made_condition(step, encoder, 1, 3, (16, 32))
    found, expected = play(runner(step), step, condition), by_model(step, encoder, condition)
    torch.testing.assert_close(found["frame"], expected["frame"], rtol=0, atol=2e-5)


@pytest.mark.parametrize("first", [False, True])
def test_a_picture_and_grey_may_stand_before_the_video(first: bool) -> None:
    """``first_frame=image`` (seen and warped) and ``zeros`` (seen, not warped)."""
    generator, encoder = made(scales=2)
    step = Step(generator, encoder)
    condition = made_condition(step, encoder, 1, 1, (16, 32))
    picture = torch.zeros(1, 2, 3, 16, 32) if first else torch.rand(1, 2, 3, 16, 32) * 2 - 1
    pasts = generator.past_from_images(picture)
    with torch.inference_mode():
        source = encoder.encode(condition)[:, [0, 0, 0]]
        expected = generator(source, past=pasts, first=first)
    given = first_inputs(step, condition) | dict(zip(step.pasts, pasts, strict=True))
    given |= {KNOWN: torch.tensor([True]), WARPED: torch.tensor([not first])}
    found = runner(step)(given)
    torch.testing.assert_close(found["frame"], expected.frames[:, 0], rtol=0, atol=2e-5)
    for name, past in zip(step.pasts, expected.past, strict=True):
        torch.testing.assert_close(found[f"next_{name}"], past, rtol=0, atol=2e-5)
    blank = runner(step)(given | {KNOWN: torch.tensor([False]), WARPED: torch.tensor([False])})
    assert (blank["frame"] - found["frame"]).abs().max() > 1e-3


def test_clips_of_a_batch_begin_when_they_like() -> None:
    generator, encoder = made()
    step = Step(generator, encoder)
    condition = made_condition(step, encoder, 2, 1, (16, 32))
    given = first_inputs(step, condition)
    made_first = runner(step)(given)
    later = given | {"past_0": made_first["next_past_0"]}
    later |= {name: torch.tensor([True, False]) for name in (KNOWN, WARPED)}
    found = runner(step)(later)
    torch.testing.assert_close(found["frame"][1], made_first["frame"][1], rtol=0, atol=2e-5)
    assert (found["frame"][0] - made_first["frame"][0]).abs().max() > 1e-3


def test_edges_are_those_of_training() -> None:
    ids = torch.randint(0, 3, (2, 3, 7, 9), generator=torch.Generator().manual_seed(0), dtype=torch.int32)
    assert torch.equal(_edges(ids), instance_edges(ids).float())


def test_an_id_of_no_class_sets_no_channel_and_ids_may_be_signed() -> None:
    generator, encoder = made(label_ids=[7, 65535], instance_edges=False, past_frames=0, flow=False)
    step = Step(generator, encoder)
    labels = torch.tensor([7, -1, 65535, 9, 255], dtype=torch.int32).view(1, 1, 1, 5)
    source = step._source({LABELS: labels})[0, 0, :, 0]
    assert source.tolist() == [[1, 0, 0, 0, 0], [0, 1, 1, 0, 0]]


def test_what_is_compared_shows_every_class_and_moves() -> None:
    generator, encoder = made(style_channels=3, style_downsamplings=2)
    step = Step(generator, encoder)
    condition = made_condition(step, encoder, 2, 3, (32, 64))
    assert set(condition[LABELS].unique().tolist()) == set(IDS) and condition[STYLE].shape == (2, 3, 3, 32, 64)
    assert torch.equal(condition[LABELS][:, 0, :, 2:], condition[LABELS][:, 1, :, :-2])
    assert not torch.equal(condition[LABELS][:, 0], condition[LABELS][:, 1])
