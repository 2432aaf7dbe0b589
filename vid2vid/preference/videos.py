"""The videos of one side of a blind sheet: files that are there, or what a run makes of held-out sequences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from trainer.cli import load_run
from trainer.config.schema import Schemas, show
from trainer.errors import ConfigError
from trainer.records.progress import Progress
from vid2vid.config import DataKind, Vid2VidConfig
from vid2vid.data.video.files import named_videos
from vid2vid.preference.sheet import PLAYED

CODINGS = ("h264", "vp8", "vp9", "av1")  # that all browsers play
_H264_PIXELS = ("yuv420p", "yuvj420p")  # of H.264; FFmpeg makes others of PNGs, unless it is told
# Tags that programs write, not people.
_TECHNICAL = ("major_brand", "minor_version", "compatible_brands", "encoder", "creation_time", "duration")
HEIGHT = 256  # pixels that small frames are enlarged to, by whole factors


def is_run(path: Path) -> bool:
    return (path / "config.yaml").is_file()


def check_same_streets(given: Mapping[str, Path], schemas: Schemas) -> None:
    """Whether the streets of two runs show the same scenes; runs on other data are not looked at.

    Args:
        given: "a" and "b" -> folder of a run.
        schemas: of all tasks.

    Raises:
        ConfigError: they do not.
    """
    streets = []
    for path in given.values():
        config = load_run(path, schemas)
        if isinstance(config, Vid2VidConfig) and config.data.kind is DataKind.street:
            streets.append({f"data.{key}": getattr(config.data, key) for key in ("world_seed", "street_detail")})
    if len(streets) == 2 and streets[0] != streets[1]:
        told = [" ".join(f"{key}={show(value)}" for key, value in street.items()) for street in streets]
        raise ConfigError(
            f"the held-out streets of a and b are different ones ({told[0]}; {told[1]}), so that people would compare "
            "scenes: generate both from one with scripts/generate.py (source=street clip=N data.world_seed=SEED "
            "out=FOLDER/N.mp4), and give the folders: a=FOLDER b=FOLDER"
        )


def given_videos(path: Path, side: str) -> dict[str, Path]:
    """Video files by name: the file itself, or those of a folder.

    Raises:
        ConfigError: a kind of file, or a coding, that browsers do not play. DataError: none there, or a damaged one.
    """
    from trainer.data.video.decode import OpenVideo

    found = named_videos(path)
    if found is None:
        raise ConfigError(f"{side}={path}: holds pictures; a sheet shows videos ({', '.join(PLAYED)})")
    files = dict(zip(found[1], found[0], strict=True))
    for file in files.values():
        if file.suffix.lower() not in PLAYED:
            raise ConfigError(f"{side}={path}: browsers do not play {file.name}; give {', '.join(PLAYED)}")
        with OpenVideo(file) as video:
            coding = video.stream.codec_context.codec.canonical_name
            pixels = video.stream.codec_context.pix_fmt
            if coding == "h264" and pixels not in _H264_PIXELS:
                coding = f"{coding} of {pixels}"
            if coding not in CODINGS or next(iter(video.frames()), None) is None:
                raise ConfigError(
                    f"{side}={path}: {file.name} is {coding}, or has no frame; browsers play {', '.join(CODINGS)}: "
                    f"ffmpeg -i {file.name} -c:v libx264 -crf 18 -pix_fmt yuv420p OUT.mp4"
                )
    return files


def check_alike(a: Mapping[str, Path], b: Mapping[str, Path]) -> None:
    """Whether nothing but its pictures tells whose a video is.

    Args:
        a, b: files by clip, the same clips.

    Raises:
        ConfigError: shape, rate, length or what a file says of itself (its title, a comment) differ in a clip.
    """
    for clip, first in a.items():
        (shape, rate, frames, words), second = _traits(first), _traits(b[clip])
        if abs(shape / second[0] - 1) > 0.01:
            what, remedy = f"shape (width / height {shape:.3f} and {second[0]:.3f})", "crop one: ffmpeg -vf crop=W:H"
        elif abs(rate / second[1] - 1) > 0.01:
            what, remedy = f"rate ({rate:.4g} and {second[1]:.4g} frames/s)", "convert one: ffmpeg -r RATE"
        elif frames != second[2]:
            what = f"length ({frames} and {second[2]} frames)"
            remedy = "give frames=N for runs, cut files: ffmpeg -frames:v N"
        elif words != second[3]:
            kinds = sorted(key for key in words.keys() | second[3].keys() if words.get(key) != second[3].get(key))
            what = f"what the files say of themselves ({', '.join(kinds)})"
            remedy = "take that out of both: ffmpeg -i FILE -map_metadata -1 -c copy OUT"
        else:
            continue
        raise ConfigError(f"the videos of {clip} differ in {what}, which tells a and b apart: {remedy}")


def _traits(path: Path) -> tuple[float, float, int, dict[str, str]]:
    """Width over height, frames per second, frames, and texts that somebody wrote into the file."""
    from trainer.data.video.decode import OpenVideo

    with OpenVideo(path) as video:
        codec = video.stream.codec_context
        words = {key.lower(): text for key, text in video.container.metadata.items() if key.lower() not in _TECHNICAL}
        frames = sum(1 for packet in video.container.demux(video.stream) if packet.size)
        return codec.width * video.pixel_aspect / codec.height, float(video.rate or 1), frames, words


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
    from vid2vid.generate.styling import build_styles
    from vid2vid.generate.video import generate_video
    from vid2vid.styles.request import StyleRequest
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
        styles = build_styles(StyleRequest(), loaded, path, sequence, frames)
        with Progress("frame", what=f"{side}: clip {number + 1} of {len(sequences)}") as progress:
            generate_video(
                loaded, sequence, made[name], frames=frames, styles=styles, zoom=min(zoom, 16), progress=progress.show
            )
    return made
