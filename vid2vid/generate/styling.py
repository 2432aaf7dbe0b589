"""Which look the instances of a video get: ``style=``, ``seed=`` and ``interpolate=`` of ``scripts/generate.py``."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path

import numpy as np

from trainer.data.pictures.decode import decode
from trainer.data.pictures.files import read_bytes
from trainer.errors import ConfigError, DataError
from vid2vid.config import DataConfig, StyleTracks
from vid2vid.data import Sequence
from vid2vid.data.augment import centre_crop
from vid2vid.data.folders.frames import label_range
from vid2vid.data.labels.recognise import label_reading
from vid2vid.data.ranges.settings import as_span
from vid2vid.styles.assigned import VideoStyles
from vid2vid.styles.lasting import ids_last
from vid2vid.styles.mixtures import FILE
from vid2vid.styles.of_run import styles_of_run
from vid2vid.styles.pooling import own_styles
from vid2vid.styles.regions import region_of
from vid2vid.styles.request import StyleRequest, interpolation_ends
from vid2vid.styles.sources import Between, Drawn, Given, Means, VectorSource
from vid2vid.styles.tracks import ById, ByOverlap, Tracker
from vid2vid.styles.vector_files import read_vectors
from vid2vid.styles.whose import encoder_of
from vid2vid.trained import LoadedRun

_log = logging.getLogger(__name__)

_BESIDE = ("_labels", "_label", "_mask", "_seg")  # ends of the name of a label map beside its picture


def build_styles(
    request: StyleRequest, run: LoadedRun, run_dir: Path, sequence: Sequence, frames: int | None
) -> VideoStyles | None:
    """The vectors of a video's instances; None for a run without a feature encoder.

    Args:
        request: checked (`StyleRequest.check`).
        run: the networks.
        run_dir: where ``styles.json`` is.
        sequence: whose first frames tell whether instance ids last.
        frames: length of the video, as far as known.

    Raises:
        DataError: a file that is missing or does not fit. ConfigError: interpolation over an unknown length.
    """
    if run.style is None:
        return None
    kind, _, path = (request.style or "sample").partition(":")
    encoder = encoder_of(run.style, run_dir, run.step)
    bounds = [] if request.interpolate is None else interpolation_ends(request.interpolate)
    needed = any(isinstance(end, int) for end in bounds) if bounds else kind in ("sample", "mean")
    fitted = styles_of_run(run_dir, run) if needed or (run_dir / FILE).is_file() else None
    drawn = None if fitted is None else Drawn(fitted, request.seed or 0)
    ids, channels = run.encoder.ids, run.config.model.style_channels
    things: Collection[int] = frozenset() if fitted is None else fitted.things
    source: VectorSource
    given: list[Given] = []  # files
    if request.interpolate is not None:
        if frames is None:
            raise ConfigError(f"interpolate={request.interpolate}: the source has no known length; give frames=N")
        ends: list[VectorSource] = []
        for end in bounds:
            if isinstance(end, int):
                assert fitted is not None
                ends.append(Drawn(fitted, end))
            else:
                ends.append(read_vectors(end, ids, channels, drawn, encoder))
        source, given = Between(*ends), [end for end in ends if isinstance(end, Given)]
    elif kind == "image":
        classes = picture_vectors(run, Path(path), None if request.style_labels is None else Path(request.style_labels))
        absent = [label for label in ids if label not in classes]
        if absent and fitted is None:
            _log.warning("style=image:%s shows no %s: fit_styles.py gives them styles, until then zeros", path, absent)
        source = Given(classes, {}, None if fitted is None else Means(fitted))
    elif kind == "file":
        source = read_vectors(Path(path), ids, channels, drawn, encoder)
        given = [source]
    else:
        assert fitted is not None and drawn is not None
        source = Means(fitted) if kind == "mean" else drawn
    things = {*things, *(label for file in given for label, _ in file.tracks)}
    how = _told_apart(request, given)
    tracker = _tracker(how, sequence, things)
    return VideoStyles(source, run.encoder, things, tracker, frames)


def _told_apart(request: StyleRequest, given: Collection[Given]) -> StyleTracks:
    """How instances must be told apart: as those of the files were, else their vectors would not be found again."""
    ways = {file.told_by for file in given if file.told_by is not None and file.tracks}
    if len(ways) > 1:
        raise ConfigError(
            f"interpolate={request.interpolate}: the instances of one file were told apart by ids, those of the other "
            "by overlap, so nobody is in both: write both anew with one style_tracks="
        )
    how = next(iter(ways), request.style_tracks)
    if request.style_tracks not in (StyleTracks.auto, how):
        raise ConfigError(
            f"style_tracks={request.style_tracks.value}: the instances of {request.interpolate or request.style} were "
            f"told apart by {how.value}, and would not be found again: leave style_tracks out"
        )
    return how


def picture_vectors(run: LoadedRun, picture: Path, labels: Path | None) -> dict[int, np.ndarray]:
    """How each class looks in a picture: E's features, averaged over the class; id -> (d,).

    Args:
        run: with a feature encoder.
        picture: cropped and resized as frames are.
        labels: its label map; None: beside it (`NAME_labels.png`), or under the same name in ``data.labels_dir``.

    Raises:
        DataError: one of them is missing or cannot be read, or they differ in size.
    """
    assert run.style is not None
    data, (height, width) = run.config.data, run.config.resolution
    image = decode(read_bytes(picture), picture, span=as_span(data.range))
    shape = (image.shape[-2], image.shape[-1])
    labels = labels or _labels_of(picture, data)
    if not labels.is_file():
        raise DataError(f"style_labels={labels}: there is no such file; give the label map of {picture}")
    allowed = label_range(run.config)
    ids, _ = label_reading(data, [labels], allowed, [labels.parent, labels.parent.parent]).decode(
        read_bytes(labels), labels
    )
    allowed.check(ids, labels)
    if tuple(ids.shape) != shape:
        raise DataError(
            f"style=image:{picture} is {shape[0]}x{shape[1]} (HxW), its label map {labels} {ids.shape[0]}x"
            f"{ids.shape[1]}: give one of the same size (style_labels=PATH)"
        )
    crop = centre_crop(shape, (height, width))
    batch = {"labels": crop.ids(ids)[None, None], "images": crop.image(image)[None, None]}
    batch = {name: value.to(run.compute.device) for name, value in batch.items()}
    styles = own_styles(run.style, run.encoder, batch, run.compute.amp)
    found: dict[int, np.ndarray] = {}
    for key, vector in zip(styles.keys.tolist(), styles.vectors.cpu().numpy(), strict=True):
        channel = region_of(key).channel
        if channel >= 0:
            found[run.encoder.ids[channel]] = vector
    return found


def _labels_of(picture: Path, data: DataConfig) -> Path:
    """The label map of a picture where it usually is."""
    beside = [picture.with_name(f"{picture.stem}{end}.png") for end in _BESIDE]
    parts = [data.labels_dir if part == data.images_dir else part for part in picture.parts]
    elsewhere = Path(*parts).with_suffix(".png")
    candidates = beside + ([elsewhere] if elsewhere != picture else [])
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise DataError(
        f"style=image:{picture} needs the picture's label map: there is none at {candidates[0]}"
        f"{f' or {elsewhere}' if elsewhere != picture else ''}; give style_labels=PATH"
    )


def _tracker(how: StyleTracks, sequence: Sequence, things: Collection[int]) -> Tracker:
    """Tells instances of different frames apart; the log says which way was taken."""
    if how is not StyleTracks.auto:
        return ByOverlap() if how is StyleTracks.overlap else ById()
    if not things:
        return ById()
    seen = ids_last(iter(sequence), things)
    if not seen.known:
        _log.warning("styles: the source has no instance maps, so that all instances of a class look alike")
    elif seen.pairs:
        how = StyleTracks.ids if seen.lasts else StyleTracks.overlap
        words = "instance ids last" if seen.lasts else "instance ids do not last, so that places tell who is who"
        _log.info(
            "styles: %s (%d of %d kept theirs in the first frames): style_tracks=%s", words, seen.kept, seen.pairs,
            how.value,
        )  # fmt: skip
    return ByOverlap() if how is StyleTracks.overlap else ById()
