"""Parts of JPEGs: what a header tells, rectangles that equal the whole picture's, and files that wait for the card."""

from __future__ import annotations

import contextlib
import io
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from trainer.cli import compose
from trainer.config.fields import OnBadFile
from trainer.data.collate import Late, collate
from trainer.data.loader import make_loader, to_device
from trainer.data.pictures.decode import decode
from trainer.data.pictures.files import BadFileError
from trainer.errors import ConfigError, refuse
from vit.config import CropKind, Decode, Interpolation, VitConfig
from vit.data import build_dataset
from vit.data.checked_samples import CheckedSamples
from vit.data.decoding import jpeg, on_device, turbo

CPU = torch.device("cpu")
# Where there is a wheel of it the tests' requirements name it, so that it may not be missing unnoticed.
needs_turbo = pytest.mark.skipif(
    platform.machine() != "x86_64" and not turbo.available(), reason="no libjpeg-turbo 3 on this machine"
)


def photo(height: int, width: int, seed: int = 0, mode: str = "RGB") -> Image.Image:
    """Smooth colours with noise: every block of a JPEG is different."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (height // 16 + 2, width // 16 + 2, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.int64)
    return Image.fromarray(np.clip(smooth + rng.integers(-20, 21, smooth.shape), 0, 255).astype(np.uint8)).convert(mode)


def encoded(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "maker"
    return exif


ORDINARY = {
    "4:4:4": {"subsampling": 0},
    "4:2:2": {"subsampling": 1},
    "4:2:0": {"subsampling": 2},
    "progressive": {"progressive": True},
    "optimised": {"optimize": True, "quality": 97},
    "restart markers": {"restart_marker_rows": 1},
    "upright": {"exif": turned(1)},
    "comment": {"comment": b"\xff\xd8\xff\xc0 not a frame"},
    "ICC": {"icc_profile": b"\xff\xc2" * 500},
}


@pytest.mark.parametrize("kind", ORDINARY)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_an_ordinary_header_tells_the_size(kind: str, mode: str) -> None:
    assert jpeg.ordinary(encoded(photo(37, 51, mode=mode), **ORDINARY[kind])) == (37, 51)


def test_padding_behind_the_end_and_between_segments() -> None:
    data = encoded(photo(8, 9))
    assert jpeg.ordinary(data + b"\0" * 20) == (8, 9)
    assert jpeg.ordinary(data[:2] + b"\xff\xff" + data[2:]) == (8, 9)


def test_the_thumbnail_in_the_tags_is_not_the_picture() -> None:
    exif = Image.Exif()
    exif[0x0112] = 1
    tags = exif.tobytes() + encoded(photo(60, 80))
    assert jpeg.ordinary(encoded(photo(37, 51), exif=tags)) == (37, 51)


@pytest.mark.parametrize(
    "data",
    [
        encoded(photo(16, 16, mode="CMYK")),
        encoded(photo(16, 16), keep_rgb=True),
        *(encoded(photo(16, 16), exif=turned(number)) for number in range(2, 9)),
        encoded(photo(64, 64))[:-40],
        encoded(photo(16, 16))[:3],
        encoded(photo(16, 16))[:2] + b"\xff\xd9",
        b"\xff\xd8\xff" + bytes(40) + b"\xff\xd9",
        b"\x89PNG\r\n\x1a\n" + bytes(30),
        b"",
        encoded(photo(16, 16)).replace(b"\xff\xc0", b"\xff\xc9"),  # arithmetically coded
        encoded(photo(16, 16), exif=b"Exif\0\0II*\0" + b"\xff" * 20),  # tags that lead nowhere
    ],
)
def test_others_are_left_alone(data: bytes) -> None:
    assert jpeg.ordinary(data) is None


def test_any_bytes_have_an_answer() -> None:
    rng = np.random.default_rng(0)
    good = np.frombuffer(encoded(photo(20, 20), exif=turned(1)), np.uint8)
    for _ in range(2000):
        bad = good.copy()
        bad[rng.integers(3, 200, 4)] = rng.integers(0, 256, 4)
        found = jpeg.ordinary(bytearray(bad.tobytes()))
        assert found is None or min(found) > 0


@pytest.mark.parametrize("kind", ORDINARY)
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("channels", [1, 3])
@needs_turbo
def test_a_window_equals_the_whole_pictures(kind: str, mode: str, channels: int) -> None:
    rng = np.random.default_rng(1)
    for seed, (height, width) in enumerate([(97, 131), (160, 64), (33, 200), (7, 5), (1, 1)]):
        data = bytearray(encoded(photo(height, width, seed, mode), **ORDINARY[kind]))
        whole = decode(data, "x", channels)
        for _ in range(8):
            h, w = int(rng.integers(1, height + 1)), int(rng.integers(1, width + 1))
            top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
            found = turbo.window(data, (top, left, h, w), channels)
            if kind == "progressive":
                assert found is None
                continue
            assert found is not None
            assert torch.equal(found, whole[:, top : top + h, left : left + w]), (height, width, top, left, h, w)


@needs_turbo
def test_what_the_library_complains_of_is_decoded_whole() -> None:
    data = bytearray(encoded(photo(64, 64)))
    data[len(data) // 2 : len(data) // 2 + 40] = b"\xff\xd0" * 20  # restarts where there are none
    assert turbo.window(data, (40, 40, 20, 20), 3) is None
    assert turbo.window(b"no picture at all", (0, 0, 1, 1), 3) is None
    good = bytearray(encoded(photo(64, 64)))
    found = turbo.window(good, (8, 8, 30, 30), 3)  # a decoder that has complained is not used again
    assert found is not None and torch.equal(found, decode(good, "x")[:, 8:38, 8:38])


@needs_turbo
def test_damage_changes_no_pixel() -> None:
    rng, found = np.random.default_rng(5), 0
    for seed in range(300):
        data = np.frombuffer(encoded(photo(60, 90, seed % 7)), np.uint8).copy()
        if seed % 2:
            data = np.concatenate([data[: rng.integers(700, len(data))], np.frombuffer(b"\xff\xd9", np.uint8)])
        else:
            data[rng.integers(700, len(data) - 2, 3)] = rng.integers(0, 256, 3)
        damaged = bytearray(data.tobytes())
        window = turbo.window(damaged, (20, 20, 30, 30), 3)
        if window is not None:
            with contextlib.suppress(BadFileError):  # behind the window is what makes it so
                assert torch.equal(window, decode(damaged, "x")[:, 20:50, 20:50])
                found += 1
    assert found > 20


# Runs


def write_data(root: Path) -> Path:
    """All that a folder may hold: two classes of JPEGs, and files that are not ordinary."""
    for place, kind in enumerate(ORDINARY):
        path = root / f"class{place % 2}" / f"{place}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(photo(60 + 7 * place, 90 - 5 * place, place), **ORDINARY[kind]))
    (root / "class0" / "turned.jpg").write_bytes(encoded(photo(40, 70, 20), exif=turned(6)))
    (root / "class1" / "print.jpg").write_bytes(encoded(photo(40, 70, 21, "CMYK")))
    photo(50, 60, 22).save(root / "class1" / "other.png")
    photo(50, 60, 23, "L").save(root / "class0" / "grey.jpg")
    return root


def break_tables(path: Path) -> None:
    """Its header still tells a size, but nothing behind it can be decoded."""
    data = bytearray(path.read_bytes())
    data[data.rindex(b"\xff\xc4") + 4] = 0xEE  # of a Huffman table: which of the four it is
    assert jpeg.ordinary(data) is not None
    path.write_bytes(data)


def configured(root: Path, *words: str) -> VitConfig:
    common = ("model=vit_mu", "data=imagefolder", f"data.root={root}", f"data.val_root={root}", "resolution=32")
    config = compose([*common, *words], {"vit": VitConfig})
    assert isinstance(config, VitConfig)
    return config


@pytest.fixture
def without_turbo(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    with monkeypatch.context() as patch:
        patch.setattr(turbo, "_library", lambda: None)
        yield patch


def samples(config: VitConfig) -> list[dict[str, Any]]:
    dataset = build_dataset(config, "train", (32, 32))
    return [dataset.sample(index, np.random.default_rng(index)) for index in range(len(dataset))]


@needs_turbo
@pytest.mark.parametrize(
    "words",
    [
        (),
        ("augment.interpolation=random", "augment.auto=three", "augment.color_jitter=0.3"),
        ("augment.crop=resize", "augment.flip=0"),
        ("augment.crop=simple",),
        ("augment.crop=center",),
        ("data.channels=1",),
        ("data.channels=4",),
    ],
)
def test_samples_do_not_depend_on_the_library(words: tuple[str, ...], tmp_path: Path, monkeypatch: Any) -> None:
    config = configured(write_data(tmp_path / "data"), *words)
    used = []
    window = turbo.window
    monkeypatch.setattr(turbo, "window", lambda *args: used.append(args) or window(*args))
    fast = samples(config)
    monkeypatch.setattr(turbo, "_library", lambda: None)
    plain = samples(config)
    planned = config.augment.crop in (CropKind.inception, CropKind.resize) and config.data.channels != 4
    assert len(used) == (10 if planned else 0)  # nine ordinary ones and the grey
    for one, two in zip(fast, plain, strict=True):
        assert torch.equal(one["image"], two["image"]) and one["label"] == two["label"]


def test_a_bad_file_takes_no_random_numbers(tmp_path: Path, monkeypatch: Any) -> None:
    config = configured(write_data(tmp_path / "data"), "data.on_bad_file=skip")
    for path in sorted((tmp_path / "data").rglob("*.jpg"))[:6:2]:
        break_tables(path)
    broken = samples(config)
    monkeypatch.setattr(turbo, "_library", lambda: None)
    for one, two in zip(broken, samples(config), strict=True):
        assert torch.equal(one["image"], two["image"]) and one["label"] == two["label"]


def waiting(config: VitConfig) -> VitConfig:
    config.data.decode = Decode.gpu
    return config


@pytest.mark.parametrize("interpolation", list(Interpolation))
@pytest.mark.parametrize("channels", [1, 3])
def test_what_arrives_is_what_the_cpu_makes(
    interpolation: Interpolation, channels: int, tmp_path: Path, without_turbo: pytest.MonkeyPatch
) -> None:
    config = configured(write_data(tmp_path / "data"), f"data.channels={channels}")
    config.augment.interpolation = interpolation
    wanted = samples(config)
    late = samples(waiting(config))
    assert all(isinstance(sample["image"], Late) for sample in late)
    assert sum(sample["image"].plan is not None for sample in late) == 10
    without_turbo.setattr(on_device, "_PIXELS", 20_000)  # several calls of the decoder
    batch = collate(late)
    found = batch["image"].pictures(CPU)
    assert found.dtype == torch.uint8 and found.shape == (13, channels, 32, 32)
    for picture, sample in zip(found, wanted, strict=True):
        # the CPU resizes in whole numbers: bicubic kernels are rounded twice
        assert int((picture.int() - sample["image"].int()).abs().max()) <= 2
        assert float((picture.float() - sample["image"].float()).abs().mean()) < 0.6
    assert batch["label"].tolist() == [sample["label"] for sample in wanted]


def test_workers_hand_files_over(tmp_path: Path, monkeypatch: Any) -> None:
    config = waiting(configured(write_data(tmp_path / "data")))
    dataset = CheckedSamples(build_dataset(config, "train", (32, 32)), ["class0", "class1"])
    monkeypatch.setattr(on_device, "require_decoder", lambda device: None)

    def batches(workers: int) -> list[torch.Tensor]:
        loader = make_loader(dataset, seed=3, samples_seen=0, batch_size=5, workers=workers)
        found = [to_device(batch, CPU)["image"] for batch, _ in zip(loader, range(4), strict=False)]
        loader.close()
        return found

    for one, two in zip(batches(0), batches(2), strict=True):
        assert one.shape == (5, 3, 32, 32) and torch.equal(one, two)


def test_a_file_that_the_card_cannot_decode(tmp_path: Path, monkeypatch: Any) -> None:
    config = waiting(configured(write_data(tmp_path / "data")))
    late = samples(config)
    batch = collate(late)["image"]
    wanted = batch.pictures(CPU)
    real = on_device._decode

    def fussy(files: Any, channels: int, device: torch.device) -> list[torch.Tensor]:
        if any(len(file) == len(late[2]["image"].pixels) for file in files):
            raise RuntimeError("Failed to decode jpeg stream: 2")
        return real(files, channels, device)

    monkeypatch.setattr(on_device, "_decode", fussy)
    assert torch.equal(batch.pictures(CPU), wanted)  # by the CPU's decoder, and all others as before


def test_a_full_card_is_no_bad_file(tmp_path: Path, monkeypatch: Any) -> None:
    """Else every picture of the batch would be decoded by the CPU, without a word."""
    batch = collate(samples(waiting(configured(write_data(tmp_path / "data")))))["image"]
    monkeypatch.setattr(on_device, "_decode", lambda *what: (_ for _ in ()).throw(RuntimeError("CUDA out of memory")))
    with pytest.raises(RuntimeError, match="out of memory"):
        batch.pictures(CPU)


def test_a_file_that_nobody_can_decode_is_named(tmp_path: Path) -> None:
    root = write_data(tmp_path / "data")
    break_tables(root / "class0" / "2.jpg")
    batch = collate(samples(waiting(configured(root))))["image"]
    with pytest.raises(BadFileError, match=r"class0.2\.jpg: cannot be decoded"):
        batch.pictures(CPU)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("augment.auto=three",), "augment.auto=null, or data.decode=cpu"),
        (("augment.color_jitter=0.4",), "augment.color_jitter=0, or data.decode=cpu"),
        (("augment.crop=simple",), "augment.crop=inception or resize"),
        (("data.cache=true",), "data.cache=false"),
        (("data.channels=4",), "data.channels=3"),
        (("trainer.device=cpu",), "needs a CUDA device, but trainer.device=cpu"),
        (("data=shapes",), "data=shapes has none"),
    ],
)
def test_what_the_card_does_not_do_is_said(words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    config = configured(write_data(tmp_path / "data"), "data.decode=gpu", *words)
    from vit.validate import problems

    with pytest.raises(ConfigError) as caught:
        refuse(problems(config))
    assert message in str(caught.value) and len(caught.value.problems) == 1


def test_a_run_without_a_card_is_told(tmp_path: Path) -> None:
    config = configured(write_data(tmp_path / "data"), "data.decode=gpu")
    batch = collate(samples(config))
    with pytest.raises(ConfigError, match=r"data.decode=gpu needs a CUDA device, and this run is on cpu"):
        to_device(batch, CPU)


def test_evaluation_is_the_cpus(tmp_path: Path) -> None:
    config = waiting(configured(write_data(tmp_path / "data")))
    config.data.on_bad_file = OnBadFile["skip"]
    assert isinstance(build_dataset(config, "val", (32, 32)).sample(0, np.random.default_rng(0))["image"], torch.Tensor)
