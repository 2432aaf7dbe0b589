"""Pixel operations against torchvision's and Pillow's, the policies' tables against torchvision's and timm's."""

from __future__ import annotations

import math
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import torch

from trainer.errors import ConfigError
from vit.config import Interpolation
from vit.data.augment import pixels
from vit.data.augment import policies as augment
from vit.data.augment.policies import Augmenter, apply
from vit.data.augment.policy_names import Policy, parse_auto, problem

SIZE = (40, 56)
EVERY = ("randaugment-n2-m10", "bv_randaugment-n2-m10", "rand-m9-mstd0.5-inc1", "autoaugment", "three")


def picture(channels: int = 3, smooth: bool = False) -> pixels.Picture:
    """uint8 (40, 56, C): waves; with noise and less than the full range of values unless smooth."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    waves = [128 + 70 * np.sin(x / (7 + c) + c) * np.cos(y / (9 - c)) for c in range(channels)]
    image = np.stack(waves, axis=-1)
    if not smooth:
        image += np.random.default_rng(0).normal(scale=12, size=image.shape)
    return np.clip(image, 20, 231).astype(np.uint8)


def tensor(image: pixels.Picture) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)


def difference(image: pixels.Picture, other: torch.Tensor | np.ndarray, border: int = 0) -> int:
    if isinstance(other, torch.Tensor):
        other = other.permute(1, 2, 0).numpy()
    inner = slice(border, -border or None)
    return int(np.abs(image.astype(int) - other)[inner, inner].max())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("name", "theirs", "values"),
    [
        ("brightness", "adjust_brightness", [0.1, 0.7, 1.9]),
        ("contrast", "adjust_contrast", [0.1, 0.7, 1.9]),
        ("saturation", "adjust_saturation", [0.0, 0.7, 1.9]),
        ("sharpness", "adjust_sharpness", [0.1, 0.7, 1.9]),
        ("posterize", "posterize", [1, 4, 8]),
        ("solarize", "solarize", [0, 100, 255]),
        ("autocontrast", "autocontrast", []),
        ("equalize", "equalize", []),
        ("invert", "invert", []),
    ],
)
def test_colour_operations_agree_with_torchvision(channels: int, name: str, theirs: str, values: list[float]) -> None:
    from torchvision.transforms.v2 import functional as tvf

    image = picture(channels)
    for arguments in [[value] for value in values] or [[]]:
        mine = getattr(pixels, name)(image, *arguments)
        # torchvision's grey is truncated, ours rounded; its error grows with the factor
        assert difference(mine, getattr(tvf, theirs)(tensor(image), *arguments)) <= 2, arguments
    assert not np.array_equal(getattr(pixels, name)(image, *values[:1]), image) or (channels, name) == (1, "saturation")


@pytest.mark.parametrize(("interpolation", "theirs"), [(pixels.NEAREST, 0), (pixels.BILINEAR, 2), (pixels.BICUBIC, 3)])
def test_geometry_agrees_with_pillow(interpolation: int, theirs: int) -> None:
    from PIL import Image

    # positions are rounded to 1/32 pixel; the cubic kernels differ; at ties the nearest pixel may be another
    smooth = picture(smooth=True)
    image, how = Image.fromarray(smooth), Image.Resampling(theirs)
    allowed = {pixels.NEAREST: 20, pixels.BILINEAR: 3, pixels.BICUBIC: 4}[interpolation]

    def warped(*matrix: float) -> np.ndarray:
        return np.asarray(image.transform(image.size, Image.Transform.AFFINE, matrix, how, fillcolor=(99,) * 3))

    pairs = {
        "shear_x": (pixels.shear_x(smooth, 0.2, 99, interpolation), warped(1, 0.2, 0, 0, 1, 0)),
        "shear_y": (pixels.shear_y(smooth, -0.2, 99, interpolation), warped(1, 0, 0, -0.2, 1, 0)),
        "translate": (pixels.translate(smooth, 5, -3, 99, interpolation), warped(1, 0, -5, 0, 1, 3)),
        "rotate": (
            pixels.rotate(smooth, 25, 99, interpolation),
            np.asarray(image.rotate(25, how, fillcolor=(99,) * 3)),
        ),
    }
    for name, (mine, expected) in pairs.items():
        close = np.abs(mine.astype(int) - expected).max(axis=2) <= allowed
        assert close.mean() > 0.93, name  # all but the edge of the picture, which OpenCV blends with the fill


def test_shifts_by_whole_pixels_are_exact() -> None:
    image = picture()
    moved = pixels.translate(image, 5, -3, 7, pixels.BICUBIC)
    assert np.array_equal(moved[:-3, 5:], image[3:, :-5])
    assert (moved[-3:] == 7).all() and (moved[:, :5] == 7).all()


@pytest.mark.parametrize("channels", [4, 6])
def test_further_channels_move_but_keep_their_values(channels: int) -> None:
    image, rng = picture(channels), np.random.default_rng(0)
    for name in augment.BV_RANDAUGMENT:
        argument, _ = augment.big_vision_argument(name, 0.7, SIZE)
        result = apply(image, name, argument, rng, fill=128, interpolation=pixels.BILINEAR)
        assert result.shape == image.shape and not np.array_equal(result, image), name
        kept = np.array_equal(result[..., 3:], image[..., 3:])
        assert kept == (name not in (*augment._GEOMETRY, "cutout")), name
        if name != "cutout":
            colours = np.ascontiguousarray(image[..., :3])
            alone = apply(colours, name, argument, rng, fill=128, interpolation=pixels.BILINEAR)
            assert np.array_equal(result[..., :3], alone), name


@pytest.mark.parametrize("channels", [1, 2])
def test_colour_needs_three_channels(channels: int) -> None:
    image = picture(channels)
    assert np.array_equal(pixels.saturation(image, 1.9), image)
    assert np.array_equal(pixels.greyscale(image), image)
    assert pixels.gaussian_blur(image, 1.5).shape == image.shape


def test_cutout_and_solarize_add() -> None:
    image = picture()
    cut = pixels.cutout(image, 0, 30, 6, 128)
    assert (cut[:6, 24:36] == 128).all()
    assert (cut != image).any(axis=2).sum() <= 6 * 12
    brighter = pixels.solarize_add(image, 110).astype(int)
    assert np.array_equal(brighter, np.where(image < 128, np.minimum(image.astype(int) + 110, 255), image))


def test_flat_pictures_survive_what_divides_by_their_range() -> None:
    flat = np.full((*SIZE, 3), 77, np.uint8)
    assert np.array_equal(pixels.autocontrast(flat), flat)
    assert np.array_equal(pixels.equalize(flat), flat)


def test_blur_has_the_standard_deviation_asked_for() -> None:
    edge = np.zeros((41, 41, 3), np.uint8)
    edge[:, 21:] = 255
    density = np.diff(pixels.gaussian_blur(edge, 2.0)[20, :, 0].astype(float)) / 255
    place = np.arange(40) - 20
    assert math.sqrt((density * place**2).sum()) == pytest.approx(2.0, abs=0.05)


def test_magnitude_0_changes_nothing() -> None:
    image, rng = picture(), np.random.default_rng(0)
    tables = [(augment.torchvision_argument, augment.RANDAUGMENT), (augment.timm_increasing_argument, augment.RAND)]
    for table, names in tables:
        for name in names:
            if name in ("autocontrast", "equalize", "invert"):
                continue  # have no magnitude
            if name == "posterize" and table is augment.timm_increasing_argument:
                continue  # begins at 4 bits
            argument, _ = table(name, 0.0, SIZE)
            for interpolation in (pixels.BILINEAR, pixels.BICUBIC):
                result = apply(image, name, argument, rng, fill=128, interpolation=interpolation)
                assert np.array_equal(result, image), name


def test_randaugments_table_is_torchvisions() -> None:
    from torchvision.transforms.v2 import RandAugment

    theirs = RandAugment._AUGMENTATION_SPACE
    names = {_torchvision_name(name): name for name in augment.RANDAUGMENT}
    assert names.keys() == theirs.keys()
    for their_name, name in names.items():
        strengths, signed = theirs[their_name]
        strengths = strengths(31, *SIZE)
        for m in (0, 5, 10, 15, 30):
            argument, mine_signed = augment.torchvision_argument(name, m / 30, SIZE)
            if strengths is None:
                assert (argument, mine_signed) == (0, False)
                continue
            expected = float(strengths[m])
            if name.startswith("translate"):
                expected = int(expected)
            elif name == "solarize":
                expected *= 255
            assert argument == pytest.approx(expected, abs=1e-4) and mine_signed == signed, (name, m)


def _torchvision_name(name: str) -> str:
    if name == "saturation":
        return "Color"
    if name == "autocontrast":
        return "AutoContrast"
    return "".join(part.capitalize() for part in name.split("_"))


def test_autoaugment_is_torchvisions_imagenet_policy() -> None:
    from torchvision.transforms.v2 import AutoAugment

    theirs = AutoAugment()._policies
    assert len(theirs) == len(augment.AUTOAUGMENT) == 25
    for mine, expected in zip(augment.AUTOAUGMENT, theirs, strict=True):
        for (name, probability, level), (their_name, their_probability, their_level) in zip(
            mine, expected, strict=True
        ):
            assert (_torchvision_name(name), probability) == (their_name, their_probability)
            assert their_level is None or their_level == level


def test_big_visions_table() -> None:
    """Its table is torchvision's less Identity and plus Invert, SolarizeAdd and Cutout; its strengths are its own."""
    assert set(augment.BV_RANDAUGMENT) == set(augment.RANDAUGMENT) - {"identity"} | {"invert", "solarize_add", "cutout"}
    assert len(augment.BV_RANDAUGMENT) == 16

    def table(m: int) -> dict[str, tuple[float, bool]]:
        return {name: augment.big_vision_argument(name, m / 10, (224, 224)) for name in augment.BV_RANDAUGMENT}

    ten = table(10)
    for name in ("brightness", "contrast", "saturation", "sharpness"):
        assert ten[name] == (pytest.approx(0.9), False), name  # one-sided
    assert ten["rotate"] == (30, True) and ten["shear_x"] == ten["shear_y"] == (pytest.approx(0.3), True)
    assert ten["translate_x"] == ten["translate_y"] == (pytest.approx(100), True)
    assert (ten["posterize"][0], ten["solarize"][0], ten["solarize_add"][0], ten["cutout"][0]) == (4, 256, 110, 40)
    twenty, none = table(20), table(0)
    assert twenty["posterize"][0] == 8 and twenty["rotate"][0] == 60 and twenty["sharpness"][0] == pytest.approx(2.7)
    assert none["posterize"][0] == 0 and none["solarize"][0] == 0 and none["brightness"][0] == pytest.approx(-0.9)


@pytest.mark.parametrize("increasing", [False, True])
def test_rands_table_is_timms(increasing: bool) -> None:
    from timm.data import auto_augment as theirs

    names = theirs._RAND_INCREASING_TRANSFORMS if increasing else theirs._RAND_TRANSFORMS
    table = augment.timm_increasing_argument if increasing else augment.timm_argument
    plain = [name.removesuffix("Increasing").removesuffix("Rel") for name in names]
    assert sorted(plain) == sorted(_torchvision_name(name) for name in augment.RAND)
    own = {_torchvision_name(name): name for name in augment.RAND}
    for their_name, shared in zip(names, plain, strict=True):
        function = theirs.LEVEL_TO_ARG[their_name]
        if function is None:
            continue
        for level in (0.0, 1.3, 5.0, 9.0, 10.0):
            argument, signed = table(own[shared], level / 10, SIZE)
            found = function(level, {})
            expected = found[0] if isinstance(found, tuple) else found
            if shared in ("Brightness", "Color", "Contrast", "Sharpness"):
                expected -= 1
            elif shared.startswith("Translate"):
                expected *= SIZE["XY".index(shared[-1]) == 0]
            assert argument == pytest.approx(abs(expected) if signed else expected, abs=1e-6), (their_name, level)


@pytest.mark.parametrize("auto", EVERY)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_policies_change_pictures_but_not_their_argument(auto: str, channels: int) -> None:
    image, rng = picture(channels), np.random.default_rng(0)
    augmenter = Augmenter(parse_auto(auto), Interpolation.bilinear)
    original, changed = image.copy(), 0
    for _ in range(60):
        result = augmenter(image, rng)
        assert result.shape == image.shape and result.dtype == np.uint8
        changed += not np.array_equal(result, image)
    assert np.array_equal(image, original)
    assert changed > 30


@pytest.mark.parametrize(
    ("auto", "names", "per_picture"),
    [
        ("randaugment-n3-m10", augment.RANDAUGMENT, 3.0),
        ("bv_randaugment-n2-m10", augment.BV_RANDAUGMENT, 2.0),
        ("rand-m9-n4-p0.25", augment.RAND, 1.0),
    ],
)
def test_operations_are_drawn_evenly(
    auto: str, names: tuple[str, ...], per_picture: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn, signs = Counter(), Counter()

    def count(image: pixels.Picture, name: str, argument: float, *_: object, **__: object) -> pixels.Picture:
        drawn[name] += 1
        signs[np.sign(argument)] += name == "rotate"
        return image

    monkeypatch.setattr(augment, "apply", count)
    augmenter, rng = Augmenter(parse_auto(auto), Interpolation.random), np.random.default_rng(0)
    image, pictures = picture(), 3000
    for _ in range(pictures):
        augmenter(image, rng)
    assert drawn.total() / pictures == pytest.approx(per_picture, rel=0.05)
    shares = np.array([drawn[name] for name in names]) / drawn.total()
    assert shares.sum() == pytest.approx(1) and np.abs(shares * len(names) - 1).max() < 0.25
    assert signs[1.0] / drawn["rotate"] == pytest.approx(0.5, abs=0.12)


def test_timms_magnitude_is_noisy_and_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[float] = []
    flat = np.zeros((4, 4, 1), np.uint8)
    monkeypatch.setattr(augment, "apply", lambda image, name, argument, *_, **__: found.append(argument) or image)
    monkeypatch.setattr(augment, "RAND", ("rotate",))

    def magnitudes(auto: str) -> np.ndarray:
        found.clear()
        augmenter, rng = Augmenter(parse_auto(auto), Interpolation.bilinear), np.random.default_rng(0)
        for _ in range(800):
            augmenter(flat, rng)
        return np.abs(found) / 3

    noisy = magnitudes("rand-m6-mstd0.5-p1-inc1")
    assert noisy.mean() == pytest.approx(6, abs=0.05) and noisy.std() == pytest.approx(0.5, abs=0.04)
    cut = magnitudes("rand-m10-mstd2-p1")
    assert cut.max() == pytest.approx(10) and (cut > 9.999).mean() == pytest.approx(0.5, abs=0.04)
    uniform = magnitudes("rand-m8-mstd101-p1")
    assert uniform.max() < 8 and uniform.mean() == pytest.approx(4, abs=0.2)


def test_three_is_one_of_three_in_equal_shares() -> None:
    image, rng = picture(), np.random.default_rng(0)
    augmenter, kinds = Augmenter(Policy("three"), Interpolation.bilinear), Counter()
    for _ in range(300):
        result = augmenter(image, rng)
        if np.array_equal(result, pixels.greyscale(image)):
            kinds["grey"] += 1
        elif np.array_equal(result, pixels.solarize(image, 128)):
            kinds["solarize"] += 1
        else:
            assert result.astype(float).std() <= image.astype(float).std()
            kinds["blur"] += 1
    assert min(kinds.values()) > 75 and len(kinds) == 3


def test_colour_jitter_keeps_to_its_range() -> None:
    flat, rng = np.full((4, 4, 3), 100, np.uint8), np.random.default_rng(0)
    means = np.array([augment.color_jitter(flat, 0.3, rng).mean() for _ in range(300)])  # brightness alone shows
    assert 69 <= means.min() < 75 and 125 < means.max() <= 130
    assert means.mean() == pytest.approx(100, abs=2.5)
    assert len({augment.color_jitter(picture(), 0.3, rng).tobytes() for _ in range(5)}) == 5


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("randaugment-n2-m10", Policy("randaugment", 2, 10)),
        ("bv_randaugment-m15-n3", Policy("bv_randaugment", 3, 15)),
        ("rand-m9-mstd0.5-inc1", Policy("rand", 2, 9, std=0.5, probability=0.5, increasing=True)),
        ("rand-m12-mmax15-mstd101-p.3", Policy("rand", 2, 12, std=math.inf, limit=15, probability=0.3)),
        ("autoaugment", Policy("autoaugment")),
        ("three", Policy("three")),
    ],
)
def test_names_of_policies(text: str, policy: Policy) -> None:
    assert parse_auto(text) == policy and problem(text) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("randaug", "there is no policy 'randaug'"),
        ("rand-m9-w0", "'w0' is not one of its parts (n, m, mstd, mmax, p, inc, each followed by a number)"),
        ("randaugment-n2.5-m9", "'n2.5' needs a whole number"),
        ("randaugment-n0-m9", "n must be 1 or more"),
        ("bv_randaugment-n2-m31", "m31 is above 30"),
        ("rand-m12", "m12 is above the limit"),
        ("rand-m9-p2", "p2 is not a probability"),
        ("rand-m9-m8", "'m' is given twice"),
        ("three-n2", "three takes no parts such as 'n2'"),
    ],
)
def test_wrong_names_are_explained(text: str, message: str) -> None:
    found = problem(text)
    assert found is not None and found.startswith(message)
    assert "the forms are randaugment-nN-mM" in found and "rand-mM-nN" in found
    with pytest.raises(ConfigError, match=f"augment.auto={text}: "):
        parse_auto(text)


def test_names_are_read_without_torch() -> None:
    code = "import sys, vit.data.augment.policy_names; assert not {'torch', 'cv2', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
