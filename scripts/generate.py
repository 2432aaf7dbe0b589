"""Generate a video with a trained run, frame by frame, in constant memory.

python scripts/generate.py run=runs/demo source=street out=street.mp4 compare=true
python scripts/generate.py run=runs/demo source=data/labels out=tree_city.mp4 remap=11:21
python scripts/generate.py run=runs/sketch source=walk.mp4 out=walk.mp4 first_frame=image image=style.png
"""

from __future__ import annotations

import logging
import os
import sys
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: spinning threads starve each other
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from trainer.cli import guarded, load_run, parse_args
from trainer.errors import ConfigError
from vid2vid.config import FirstFrame, Vid2VidConfig

PLAIN_PROGRESS_S = 10.0  # seconds between two progress lines where there is no terminal


@dataclass
class Arguments:
    run: str  # run directory, such as runs/demo
    source: str  # folder of label maps (or pictures), video file, or street
    out: str  # the video to write: .mp4, .mov, .mkv, .webm or .gif; without a suffix a folder of PNGs
    frames: int | None = None  # at most so many; null: as long as the source
    clip: int = 0  # which sequence of the source, from 0
    seed: int | None = None  # another world with source=street (data.world_seed); null: the run's
    first_frame: FirstFrame | None = None  # what stands before the first frame; null: as the run was trained
    image: str | None = None  # picture for first_frame=image
    compare: bool = False  # source, real and generated side by side
    zoom: int = 1  # enlarge the video's pixels so many times
    png: bool = False  # also every generated frame as PNG, in a folder beside the video
    remap: str | None = None  # classes to change, OLD:NEW,...: 11:21 turns buildings into vegetation
    fps: float | None = None  # null: the source's own
    checkpoint: str | None = None  # best, or the name of another checkpoint of the run, or a path; null: the newest
    overrides: list[str] = field(default_factory=list)


@guarded
def main() -> None:
    arguments = parse_args(Arguments)
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    config: Vid2VidConfig = load_run(arguments.run, {"vid2vid": Vid2VidConfig}, arguments.overrides)
    if arguments.image is not None and arguments.first_frame not in (None, FirstFrame.image):
        raise ConfigError(f"image={arguments.image} is for first_frame=image, not {arguments.first_frame.value}")
    first_frame = FirstFrame.image if arguments.image is not None else arguments.first_frame

    from trainer.records.video_writer import check_out
    from vid2vid.generate.relabel import Relabel, parse_remap
    from vid2vid.generate.video import generate_video, open_clip, read_first_image
    from vid2vid.trained import load_generator

    check_out(arguments.out, arguments.fps)
    relabel = Relabel(parse_remap(arguments.remap), config.model) if arguments.remap is not None else None
    asked = config.resolution if any(word.startswith("resolution=") for word in arguments.overrides) else None
    run = load_generator(config, Path(arguments.run), arguments.checkpoint, asked)
    print(run.weights_line)
    config = run.config
    if arguments.seed is not None:
        config.data.world_seed = arguments.seed
    sequence = open_clip(arguments.source, config, arguments.clip, arguments.frames)
    height, width = config.resolution
    image = None
    if arguments.image is not None:
        image = read_first_image(Path(arguments.image), (height, width), config.data)
    with _Progress() as progress:
        made = generate_video(
            run,
            sequence,
            Path(arguments.out),
            frames=arguments.frames,
            first_frame=first_frame,
            image=image,
            relabel=relabel,
            compare=arguments.compare,
            png=arguments.png,
            zoom=arguments.zoom,
            fps=arguments.fps,
            progress=progress,
        )
    size, rate = f"{made.size[1]}x{made.size[0]}", made.frames / made.seconds
    print(f"{made.video}: {made.frames} frames of {size} at {made.fps:g} fps, made at {rate:.1f} frames/s")
    if made.pictures is not None:
        print(f"{made.pictures}: {made.frames} pictures")


class _Progress(AbstractContextManager["_Progress"]):
    """A bar with the time left on a terminal, a line now and then elsewhere."""

    def __enter__(self) -> _Progress:
        self._bar: Any = None
        self._begin = self._last = time.monotonic()
        return self

    def __call__(self, done: int, total: int | None) -> None:
        if sys.stderr.isatty():
            if self._bar is None:
                from tqdm import tqdm

                self._bar = tqdm(total=total, unit="frame", dynamic_ncols=True)
            self._bar.update(done - self._bar.n)
            return
        now = time.monotonic()
        if now - self._last < PLAIN_PROGRESS_S:
            return
        self._last = now
        rate = done / (now - self._begin)
        left = f", about {(total - done) / rate:.0f} s left" if total is not None else ""
        print(f"frame {done}{f' of {total}' if total is not None else ''}, {rate:.1f} frames/s{left}", file=sys.stderr)

    def __exit__(self, *exc: object) -> None:
        if self._bar is not None:
            self._bar.close()


if __name__ == "__main__":
    main()
