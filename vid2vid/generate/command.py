"""``scripts/generate.py``: its arguments, and what it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.cli import load_run
from trainer.config.schema import Schemas
from trainer.errors import ConfigError
from trainer.files import check_apart, check_place
from trainer.records.progress import Progress
from vid2vid.config import FaceBackground, FirstFrame, StyleTracks, Vid2VidConfig
from vid2vid.styles.request import StyleRequest

if TYPE_CHECKING:
    from vid2vid.trained import LoadedRun


@dataclass
class Arguments:
    """a video model"""

    run: str  # run directory, such as runs/demo
    source: str  # folder of label maps (or pictures), video file, or street
    out: str  # the video to write: .mp4, .mov, .mkv, .webm or .gif; without a suffix a folder of PNGs
    frames: int | None = None  # at most so many; null: as long as the source
    clip: int = 0  # which sequence of the source, from 0
    seed: int | None = (
        None  # draws styles, data.world_seed= the street; of a run without styles it is the street's seed
    )
    style: str | None = (
        None  # looks: sample (drawn by seed), mean, image:PATH, file:PATH; null: sample (docs/styles.md)
    )
    style_labels: str | None = None  # label map of style=image:PATH; null: beside the picture
    interpolate: str | None = None  # A,B: from one style to another over the video; seeds, or files of save_style
    style_tracks: StyleTracks = StyleTracks.auto  # who is who from frame to frame
    save_style: str | None = None  # write the vectors of this video's instances, for style=file:PATH
    first_frame: FirstFrame | None = None  # what stands before the first frame; null: as the run was trained
    image: str | None = None  # picture for first_frame=image
    compare: bool = False  # source, real and generated side by side
    zoom: int = 1  # enlarge the video's pixels so many times
    png: bool = False  # also every generated frame as PNG, in a folder beside the video
    remap: str | None = None  # classes to change, OLD:NEW,...: 11:21 turns buildings into vegetation
    predictor: str | None = None  # run directory of a label predictor, for predict=N
    predict: int | None = None  # frames that follow on the source's (on its first `frames`), their labels predicted
    edit: str | None = None  # YAML file of edits by class, object and region: replace, remove, insert (docs/editing.md)
    retarget: Any = None  # true: people of the source in the proportions of those trained on; PATH: of those there
    background: str | None = None  # picture whose edges stand behind a face, where the run has learnt with such edges
    fps: float | None = None  # null: the source's own
    checkpoint: str | None = None  # best, or the name of another checkpoint of the run, or a path; null: the newest
    overrides: list[str] = field(default_factory=list)


def run(arguments: Arguments, schemas: Schemas, say: Callable[[str], None]) -> None:
    """Write the video that ``arguments`` ask for.

    Args:
        schemas: of all tasks.
        say: takes a line for the user.

    Raises:
        UserError: arguments, weights or sources that cannot be used.
    """
    config: Vid2VidConfig = load_run(arguments.run, schemas, arguments.overrides)
    if arguments.image is not None and arguments.first_frame not in (None, FirstFrame.image):
        raise ConfigError(f"image={arguments.image} is for first_frame=image, not {arguments.first_frame.value}")
    first_frame = FirstFrame.image if arguments.image is not None else arguments.first_frame
    if (arguments.predictor is None) != (arguments.predict is None):
        raise ConfigError("predictor=RUN and predict=N go together: which run predicts label maps, and how many")
    if arguments.predictor is not None and first_frame not in (None, FirstFrame.real):
        raise ConfigError(f"first_frame={first_frame.name}: predict=N begins with real frames; leave it out")

    request = StyleRequest(
        arguments.style,
        arguments.style_labels,
        arguments.seed,
        arguments.interpolate,
        arguments.style_tracks,
        arguments.save_style,
    )
    request.check(config.model)

    from vid2vid.data import Sequence
    from vid2vid.generate.edit.edits import Edits
    from vid2vid.generate.edit.file import Span, read_edits
    from vid2vid.generate.edit.relabel import Relabel, parse_remap
    from vid2vid.generate.styling import build_styles
    from vid2vid.generate.video import generate_video, length_of, open_clip, read_first_image
    from vid2vid.styles.vector_files import write_vectors
    from vid2vid.styles.whose import encoder_of
    from vid2vid.trained import load_asked

    _check_places(arguments)
    remap = Relabel(parse_remap(arguments.remap), config.model) if arguments.remap is not None else None
    asked = read_edits(arguments.edit, config.model) if arguments.edit is not None else []
    loaded = load_asked(config, arguments.run, arguments.checkpoint, arguments.overrides, say)
    config = loaded.config
    if arguments.seed is not None and loaded.style is None:
        config.data.world_seed = arguments.seed
    frames, real_frames = arguments.frames, None
    if arguments.predictor is not None and arguments.predict is not None:
        from vid2vid.future.rollout import LabelRollout
        from vid2vid.future.sequence import open_future
        from vid2vid.future.trained import load_predictor

        predictor = load_predictor(arguments.predictor, schemas, loaded)
        say(f"predictor: {predictor.weights_line}")
        future = open_future(
            arguments.source, loaded, LabelRollout(predictor), arguments.predict, arguments.clip, frames
        )
        sequence, first_frame, frames, real_frames = future, FirstFrame.real, None, future.observed
    else:
        sequence = open_clip(arguments.source, config, arguments.clip, frames, [loaded.colours])
    edits = None
    if remap is not None or asked:
        total = length_of(sequence, frames)  # predicted frames too

        def open_track(source: str, clip: int, span: Span) -> Sequence:
            return open_clip(source, config, clip, span.needed(total), [loaded.colours])

        edits = Edits(asked, config.model, open_track, config.data.ignore_label, remap)
    height, width = config.resolution
    sequence = _as_asked(sequence, arguments, loaded, say)
    frames = length_of(sequence, frames)
    styles = build_styles(request, loaded, Path(arguments.run), sequence, frames)
    image = None
    if arguments.image is not None:
        image = read_first_image(Path(arguments.image), (height, width), config.data)
    with Progress("frame") as progress:
        made = generate_video(
            loaded,
            sequence,
            Path(arguments.out),
            frames=frames,
            first_frame=first_frame,
            image=image,
            real_frames=real_frames,
            edits=edits,
            styles=styles,
            compare=arguments.compare,
            png=arguments.png,
            zoom=arguments.zoom,
            fps=arguments.fps,
            progress=progress.show,
        )
    size, rate = f"{made.size[1]}x{made.size[0]}", made.frames / made.seconds
    say(f"{made.video}: {made.frames} frames of {size} at {made.fps:g} fps, made at {rate:.1f} frames/s")
    if arguments.save_style is not None and styles is not None:
        assert loaded.style is not None
        encoder = encoder_of(loaded.style, Path(arguments.run), loaded.step)
        write_vectors(Path(arguments.save_style), styles.used, styles.things, styles.told_by, encoder)
        say(f"{arguments.save_style}: the vectors of {len(styles.used)} instances and regions")
    if made.pictures is not None:
        say(f"{made.pictures}: {made.frames} pictures")


def _check_places(arguments: Arguments) -> None:
    """Raises UserError where something of what will be written cannot be."""
    from trainer.records.video_writer import check_frames_folder, check_out
    from vid2vid.generate.video import frames_folder

    check_out(arguments.out, arguments.fps)
    check_apart(arguments.out, arguments.source)
    if arguments.png:
        check_frames_folder(frames_folder(Path(arguments.out)))
    if arguments.save_style is not None:
        check_place("save_style", arguments.save_style)
        if Path(arguments.save_style).absolute() == Path(arguments.out).absolute():
            raise ConfigError(
                f"save_style={arguments.save_style}: is out= too; give a name of its own, ending in .json"
            )


def _as_asked(sequence: Any, arguments: Arguments, loaded: LoadedRun, say: Callable[[str], None]) -> Any:
    """The source with its people in other proportions, and before another background, as far as that is asked for."""
    from vid2vid.data.retarget import before_picture, retargeted, target_of
    from vid2vid.generate.video import read_first_image

    config, behind = loaded.config, loaded.config.data.face_background is FaceBackground.edges
    if arguments.retarget not in (None, False):
        sequence = retargeted(sequence, target_of(arguments.retarget, loaded.proportions, config))
    if arguments.background is not None:
        if not behind:
            raise ConfigError(
                f"background={arguments.background}: this run has learnt faces without edges behind them "
                "(data.face_background=none): leave it out"
            )
        height, width = config.resolution
        return before_picture(sequence, read_first_image(Path(arguments.background), (height, width), config.data))
    if behind and not sequence.has_pictures:
        say("no edges behind the face: the source has no pictures (background=PATH gives one for all frames)")
    return sequence
