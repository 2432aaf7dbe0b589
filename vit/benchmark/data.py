"""Times the data path: JPEGs through decoding, cropping and flipping, and how long training waits for them."""

from __future__ import annotations

import io
import json
import statistics
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.benchmark.machine import machine
from trainer.benchmark.rounds import in_turn
from trainer.cli import compose
from trainer.loop import Trainer
from vit.config import VitConfig
from vit.data import build_dataset
from vit.task import VitTask

SIZE = (375, 500)  # height, width: ImageNet's usual one
QUALITY = 90
CLASSES = 10


def picture(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Colour noise of all scales, (H, W, 3): compresses like a photograph (about 50 kB at quality 90)."""
    import cv2

    total = np.zeros((*SIZE, 3), np.float32)
    for scale in (2, 4, 8, 16, 64, 128):
        shape = (max(2, SIZE[0] // scale), max(2, SIZE[1] // scale), 3)
        coarse = rng.standard_normal(shape, dtype=np.float32)
        total += cv2.resize(coarse, SIZE[::-1], interpolation=cv2.INTER_CUBIC) * 7 * scale**0.3
    return np.clip(total + 128, 0, 255).astype(np.uint8)


def write_jpegs(root: Path, count: int, distinct: int = 100) -> float:
    """``count`` JPEGs in ``CLASSES`` folders below ``root``, made from ``distinct`` pictures; returns their mean kB."""
    from PIL import Image

    rng = np.random.default_rng(0)
    first: list[bytes] = []
    for index in range(count):
        path = root / f"class{index % CLASSES}" / f"{index:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        if index < distinct:
            Image.fromarray(picture(rng)).save(path, quality=QUALITY)
            first.append(path.read_bytes())
        else:
            path.write_bytes(first[index % distinct])
    return statistics.mean(map(len, first)) / 1e3


def pipeline_rate(config: VitConfig, samples: int) -> tuple[float, float]:
    """Pictures per second of wall time, and per second that one core really worked on them.

    Args:
        config: data, augmentation and resolution.
        samples: so many are read.
    """
    dataset = build_dataset(config, "train", (config.resolution[0], config.resolution[1]))
    dataset.sample(0, np.random.default_rng(0))
    wall, cpu = time.perf_counter(), time.process_time()
    for index in range(samples):
        dataset.sample(index % len(dataset), np.random.default_rng(index))
    return samples / (time.perf_counter() - wall), samples / (time.process_time() - cpu)


def decoding_rate(root: Path) -> float:
    """JPEGs per second of one core's work by torchvision's decoder alone: the most that any pipeline can have."""
    from torchvision.io import decode_jpeg

    files = [torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8) for path in sorted(root.rglob("*.jpg"))]
    files = files[:200]
    decode_jpeg(files[0])
    cpu = time.process_time()
    for file in files:
        decode_jpeg(file)
    return len(files) / (time.process_time() - cpu)


def epoch_wait(config: VitConfig, run_dir: Path) -> tuple[float, float]:
    """Trains as configured. Returns the share of the time (0..1) that training waited for data, and samples/s."""
    waits: list[float] = []
    rates: list[float] = []
    with redirect_stdout(io.StringIO()):
        trainer = Trainer(config, lambda: VitTask(config), run_dir)
    tell = trainer.log

    def observed(samples: int) -> None:
        tell(samples)
        record = last_record(run_dir)
        waits.append(record["data_wait"])
        rates.append(record["samples_per_s"])

    trainer.log = observed  # type: ignore[method-assign]
    with redirect_stdout(io.StringIO()):  # the run's own lines; its log file has them, too
        trainer.fit()
    # Every record speaks of as many samples: the mean over time weighs each with its duration.
    seconds = [1 / rate for rate in rates]
    return sum(w * s for w, s in zip(waits, seconds, strict=True)) / sum(seconds), len(seconds) / sum(seconds)


def last_record(run_dir: Path) -> dict[str, float]:
    """The newest line of ``metrics.jsonl`` that speaks of training."""
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    return next(record for record in map(json.loads, reversed(lines)) if "data_wait" in record)


def _config(root: Path, *words: str) -> VitConfig:
    words = ("model=vit_ti16", "data=imagefolder", f"data.root={root}", "logger.tensorboard=false", *words)
    config = compose(list(words), {"vit": VitConfig})
    assert isinstance(config, VitConfig)
    return config


def _sources(root: Path, folder: Path) -> dict[str, VitConfig]:
    """The same pictures as files, as a tar shard, and as files with a cache of decoded pictures."""
    shards = folder / "shards"
    shards.mkdir()
    with tarfile.open(shards / "train-0000.tar", "w") as shard:
        for index, path in enumerate(sorted(root.rglob("*.jpg"))):
            shard.add(path, f"{index:05}.jpg")
            label = path.parent.name.encode()
            entry = tarfile.TarInfo(f"{index:05}.txt")
            entry.size = len(label)
            shard.addfile(entry, io.BytesIO(label))
    places = f"data.cache_dir={folder / 'cache'}"
    return {
        "files": _config(root),
        "webdataset": _config(shards, "data=webdataset", f"data.root={shards}", places),
        "files, data.cache=true": _config(root, "data.cache=true", places),
    }


def suite(repeats: int = 5, command: str = "", files: int = 2000, side: int = 64) -> Iterator[str]:
    """The lines of ``scripts/benchmark.py suite=data``: a section for BENCHMARKS.md.

    Args:
        repeats: measurements of the pipeline.
        command: what was typed.
        files: JPEGs in the epoch.
        side: resolution in pixels of the epoch's training.
    """
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "pictures"
        size = write_jpegs(root, files)
        yield "## ViT: the data path"
        yield ""
        yield f"`{command}`: {machine(torch.device('cpu'), 'torchvision', 'pillow')}."
        yield f"JPEGs of {SIZE[1]}x{SIZE[0]}, quality {QUALITY}, {size:.0f} kB on average."
        yield ""
        torch.set_num_threads(1)
        try:
            sources = _sources(root, Path(folder))
            rates: dict[str, list[tuple[float, float, float]]] = {name: [] for name in sources}
            for name in in_turn(list(sources), repeats):
                rates[name].append((*pipeline_rate(sources[name], min(files, 300)), decoding_rate(root)))
        finally:
            torch.set_num_threads(threads)
        yield "Read, decode, inception crop to 224, flip, uint8 out, pictures per second and core, beside torchvision's"
        yield f"decoder alone on the same files (medians of {repeats}, in turn):"
        yield ""
        yield "| from | by the core's time | by the clock | decoder alone | ratio |"
        yield "|---|---|---|---|---|"
        for name, measured in rates.items():
            wall, cpu, bare = (statistics.median(column) for column in zip(*measured, strict=True))
            ratio = statistics.median(own / alone for _, own, alone in measured)
            yield f"| {name} | {cpu:.0f} | {wall:.0f} | {bare:.0f} | {ratio:.2f} |"
        yield ""
        for workers in (1, 2):
            batch = min(64, files // 4)
            config = _config(
                root,
                f"resolution={side}",
                f"data.workers={workers}",
                f"trainer.max_samples={files}",
                f"curriculum.stages.all.batch_size={batch}",
                "trainer.log_every=2",
                "trainer.eval_every=0",
                "trainer.visuals_every=0",
                f"trainer.threads={threads}",
            )
            wait, rate = epoch_wait(config, Path(folder) / f"run{workers}")
            yield f"An epoch over {files} of them, Ti/16 at {side} px, {workers} worker{'s' * (workers > 1)}:"
            yield f"{rate:.0f} samples/s, {100 * wait:.1f} % of the time waiting for data."
