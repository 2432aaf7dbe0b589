"""Films: one map for all frames, windows, and how much flicker there is."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.helpers.made_stylizer import noise_picture, small_network
from trainer.errors import DataError
from vit.stylize import Statistics
from vit.stylize.content import unit
from vit.stylize.films import Flicker, film_maps, folder_frames, redrawn, sample
from vit.stylize.levels import Stylizer
from vit.stylize.transforms import merged


def clip(frames: int = 7) -> list[Tensor]:
    """A still picture of smooth noise through which a bright square goes, in and out."""
    rng = np.random.default_rng(0)
    ground = torch.from_numpy(rng.integers(60, 120, (3, 16, 56), dtype=np.uint8))
    found = []
    for number in range(frames):
        frame = ground.clone()
        if 0 < number < frames - 1:
            frame[:, 4:10, 3 * number : 3 * number + 5] = torch.tensor([250, 240, 30], dtype=torch.uint8).view(3, 1, 1)
        found.append(frame)
    return found


@pytest.fixture
def stylizer() -> Stylizer:
    return Stylizer(small_network(), "wct", (2, 1), 1.0)


def drawn(
    stylizer: Stylizer, statistics: Statistics, window: int = 3, frames: list[Tensor] | None = None
) -> list[Tensor]:
    frames = frames or clip()
    style = stylizer.style(torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(3)))
    return list(redrawn(stylizer, lambda: iter(frames), style, statistics, window, sample(frames)[0]))


def ratio(source: list[Tensor], found: list[Tensor]) -> float:
    flicker = Flicker()
    for pair in zip(source, found, strict=True):
        flicker.add(*pair)
    assert flicker.ratio is not None
    return flicker.ratio


def test_what_stands_still_stays_as_it_is_under_the_films_statistics(stylizer: Stylizer) -> None:
    found = drawn(stylizer, Statistics.film)
    corner = [frame[:, :, -8:].float() for frame in found]  # the square is never near
    assert all(torch.equal(corner[0], each) for each in corner)
    alone = [frame[:, :, -8:].float() for frame in drawn(stylizer, Statistics.frame)]
    assert max((alone[0] - each).abs().max() for each in alone) > 2


def test_the_films_statistics_flicker_less_than_each_frames(stylizer: Stylizer) -> None:
    by = {each: ratio(clip(), drawn(stylizer, each)) for each in Statistics}
    assert by[Statistics.film] < by[Statistics.window] < by[Statistics.frame]


def test_flicker_is_the_change_in_that_of_the_source() -> None:
    source = [torch.full((3, 2, 2), value, dtype=torch.uint8) for value in (10, 14, 12)]
    found = [torch.full((3, 2, 2), value, dtype=torch.uint8) for value in (0, 9, 9)]
    assert ratio(source, found) == pytest.approx(9 / 6)
    still = Flicker()
    still.add(source[0], found[0])
    assert still.ratio is None


def test_a_window_over_everything_is_the_film_at_one_level() -> None:
    stylizer = Stylizer(small_network(1), "wct", (1,), 1.0)
    frames = clip(5)
    film, window = (drawn(stylizer, each, 9, frames) for each in (Statistics.film, Statistics.window))
    assert all((one.int() - other.int()).abs().max() <= 1 for one, other in zip(film, window, strict=True))


def test_a_window_is_the_frames_around_each(stylizer: Stylizer) -> None:
    one = Stylizer(stylizer.network, "wct", (1,), 1.0)
    frames = clip(5)
    style = one.style(torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(3)))
    found = drawn(one, Statistics.window, 3, frames)
    for number, around in enumerate([(0, 1), (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4)]):
        own = merged(one.moments(unit(frames[each]), 1) for each in around)
        expected = one.redraw(unit(frames[number]), 1, one.map(1, own, style))
        assert torch.equal(found[number], (expected * 255).round().to(torch.uint8))


def test_a_frames_own_statistics_are_those_of_a_picture(stylizer: Stylizer) -> None:
    frames = clip(3)
    style = stylizer.style(torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(3)))
    expected = [(stylizer(unit(frame), style) * 255).round().to(torch.uint8) for frame in frames]
    found = drawn(stylizer, Statistics.frame, 3, frames)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_each_level_of_a_film_sees_what_the_one_before_has_drawn(stylizer: Stylizer) -> None:
    frames = clip(2)
    style = stylizer.style(torch.rand(3, 16, 16))
    maps = film_maps(stylizer, frames, style)
    redrawn_once = [stylizer.redraw(unit(frame), 2, maps[2]) for frame in frames]
    own = merged(stylizer.moments(image, 1) for image in redrawn_once)
    assert torch.allclose(maps[1].matrix, stylizer.map(1, own, style).matrix, rtol=0.05, atol=0.05)


def test_frames_are_sampled_at_even_distances() -> None:
    frames = [torch.tensor(number) for number in range(37)]
    kept, count = sample(iter(frames), least=4)
    assert count == 37 and [int(each) for each in kept] == [0, 8, 16, 24, 32]
    assert len(sample(frames[:7], least=4)[0]) == 7


def test_frames_of_another_size_are_named(tmp_path: Path) -> None:
    files = [noise_picture(tmp_path / "0.png", (8, 8)), noise_picture(tmp_path / "1.png", (8, 9))]
    with pytest.raises(DataError, match=r"1\.png is 8x9, the frames before it 8x8"):
        list(folder_frames(files, None))
