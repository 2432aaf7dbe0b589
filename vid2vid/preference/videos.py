"""The videos of one side of a blind sheet: files that are there, or what a run makes of held-out sequences."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from trainer.cli import load_run
from trainer.config.schema import Schemas
from trainer.errors import ConfigError
from trainer.records.progress import Progress
from vid2vid.config import DataKind, Vid2VidConfig
from vid2vid.data.video.files import named_videos
from vid2vid.preference.sheet import PLAYED

CODINGS = ("h264", "vp8", "vp9", "av1")  # that all browsers play
HEIGHT = 256  # pixels that small frames are enlarged to, by whole factors


def is_run(path: Path) -> bool:
    return (path / "config.yaml").is_file()


def given_videos(path: Path, side: str) -> dict[str, Path]:
    """Video files by name: the file itself, or those of a folder.

    Raises:
        ConfigError: a kind of file, or a coding, that browsers do not play. DataError: none there, or a damaged one.
    """
    from vid2vid.data.video.decode import OpenVideo

    found = named_videos(path)
    if found is None:
        raise ConfigError(f"{side}={path}: holds pictures; a sheet shows videos ({', '.join(PLAYED)})")
    files = dict(zip(found[1], found[0], strict=True))
    for file in files.values():
        if file.suffix.lower() not in PLAYED:
            raise ConfigError(f"{side}={path}: browsers do not play {file.name}; give {', '.join(PLAYED)}")
        with OpenVideo(file) as video:
            coding = video.stream.codec_context.codec.canonical_name
            if coding not in CODINGS or next(iter(video.frames()), None) is None:
                raise ConfigError(
                    f"{side}={path}: {file.name} is {coding}, or has no frame; browsers play {', '.join(CODINGS)}: "
                    f"ffmpeg -i {file.name} -c:v libx264 -crf 18 -pix_fmt yuv420p OUT.mp4"
                )
    return files


def generated_videos(
    path: Path,
    side: str,
    folder: Path,
    *,
    schemas: Schemas,
    source: str | None,
    clips: int,
    frames: int | None,
    say: Callable[[str], None],
) -> dict[str, Path]:
    """What a run makes of the first sequences of a source, as videos in a folder, by the sequences' names.

    Args:
        path: of the run.
        side: "a" or "b".
        folder: for the videos.
        schemas: of all tasks.
        source: as of `scripts/generate.py`; None: the held-out scenes of the street.
        clips: at most so many.
        frames: of each; None: data.val_frames of the street, all of other sources.
        say: takes a line for the user.

    Raises:
        UserError: no video model's run, or a source that cannot be used.
    """
    config = load_run(path, schemas)
    if not isinstance(config, Vid2VidConfig):
        raise ConfigError(f"{side}={path}: is a classifier's run; a sheet compares videos")
    if source is None and config.data.kind is not DataKind.street:
        raise ConfigError(f"{side}={path}: source=... is missing: what both runs make videos of (a folder, a film)")

    from itertools import islice

    from vid2vid.data import open_source
    from vid2vid.generate.video import generate_video
    from vid2vid.trained import load_generator

    loaded = load_generator(config, path)
    say(f"{side}: {loaded.weights_line}")
    loaded.config.data.val_clips = max(loaded.config.data.val_clips, clips)  # street has as many as one asks for
    sequences = list(islice(open_source(source or "street", loaded.config, frames), clips))
    zoom = max(1, -(-HEIGHT // loaded.config.resolution[0]))
    made: dict[str, Path] = {}
    for number, sequence in enumerate(sequences):
        name = sequence.name.replace("/", "_")
        made[name] = folder / f"{number:03d}.mp4"
        with Progress("frame", what=f"{side}: clip {number + 1} of {len(sequences)}") as progress:
            generate_video(loaded, sequence, made[name], frames=frames, zoom=min(zoom, 16), progress=progress.show)
    return made
