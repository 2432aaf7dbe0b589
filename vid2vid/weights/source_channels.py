"""What each channel of a source is, and which one of another network's weights belongs to it."""

from __future__ import annotations

from dataclasses import dataclass

from vid2vid.config import DataConfig, ModelConfig, SourceKind
from vid2vid.data.sources.kinds import channel_names, picture_channels, wants_labels

Index = list[int | None]  # per channel: which one of the weights goes there


@dataclass(frozen=True)
class SourceChannels:
    """The channels of a source that networks see.

    Attributes:
        channels: C.
        past: L.
        ids: classes in the order of their channels; None: not known, or the source is no label map.
        edges: whether a channel of instance edges follows the classes.
        pictures: channels of pictures, which come last.
        drawn: what each of these is, by the kinds of data.sources; empty: not known.
        kind: of the source; None: not known.
        styles: E's features, which the generator sees behind the channels.
        guess: how classes are told apart where the file does not name them.
    """

    channels: int
    past: int
    ids: tuple[int, ...] | None = None
    edges: bool = False
    pictures: int = 0
    kind: SourceKind | None = None
    styles: int = 0
    guess: str = ""
    drawn: tuple[str, ...] = ()

    @staticmethod
    def of(model: ModelConfig, data: DataConfig) -> SourceChannels:
        """That of a configuration."""
        pictures, past, styles = picture_channels(model, data), model.past_frames, model.style_channels
        drawn = channel_names(data) if pictures else ()
        if not wants_labels(model):
            return SourceChannels(pictures, past, pictures=pictures, kind=model.source, styles=styles, drawn=drawn)
        ids, edges = (
            tuple(range(model.num_labels) if model.label_ids is None else model.label_ids),
            model.instance_edges,
        )
        channels = len(ids) + edges + pictures
        return SourceChannels(channels, past, ids, edges, pictures, model.source, styles, drawn=drawn)

    @property
    def classes(self) -> int:
        """Channels of classes."""
        return self.channels - self.edges - self.pictures


def placed_channels(here: SourceChannels, there: SourceChannels) -> Index:
    """Per channel of one source frame: the one of the weights, or None."""
    if here.ids is not None and there.ids is not None:
        position: dict[int | str, int] = {label: index for index, label in enumerate(there.ids)}
        classes: Index = [position.get(label) for label in here.ids]
    else:
        classes = [index if index < there.classes else None for index in range(here.classes)]
    edges: Index = [there.classes if there.edges else None] * here.edges
    before = there.classes + there.edges
    pictures: Index = [before + i if i < there.pictures else None for i in range(here.pictures)]
    if here.drawn and there.drawn:
        known = {name: before + i for i, name in enumerate(there.drawn)}
        pictures = [known.get(name) for name in here.drawn]
    return classes + edges + pictures


def channel_titles(channels: SourceChannels) -> list[str]:
    """What each channel is, in the user's words."""
    classes = [f"class {label}" for label in channels.ids or range(channels.classes)]
    edges = ["instance edges"] * channels.edges
    return [*classes, *edges, *(f"source channel {i}" for i in range(channels.pictures))]
