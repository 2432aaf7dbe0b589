"""What ``scripts/stylize.py`` does: files, samples of a data set, or a film, and the sheet that shows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path

from torch import Tensor

from trainer.checkpoint.digest import add_weights
from trainer.data.checking import spread
from trainer.data.pictures.decode import decode
from trainer.data.pictures.files import read_bytes
from trainer.errors import ConfigError, DataError
from trainer.files import check_apart, check_place, write_table
from trainer.records.media import write_png
from trainer.records.progress import followed
from trainer.records.video_writer import check_out, video_output
from vit.config import VitConfig
from vit.data.opening import open_source
from vit.data.sources.unlabelled import TABLES, list_pictures
from vit.stylize import Statistics
from vit.stylize.arguments import Arguments
from vit.stylize.content import Content, Files, Samples, reduced, to_bytes, unit, write_copy, written_as
from vit.stylize.copies import Styles, beside, claim, copy_tables, redraw_all
from vit.stylize.films import Flicker, folder_frames, frame_rate, redrawn, sample, video_frames
from vit.stylize.levels import Stylizer
from vit.stylize.sheet import Shown, sheet

_SHOWN = 6  # rows of the sheet
_FPS = 25.0  # of a film that is a folder of pictures
_UNLIKE = 12.0  # dB, below which what is decoded is another picture
_NAMED = 10  # pictures that cannot be used, on the console


@dataclass
class Job:
    """One command.

    Attributes:
        arguments: of it, checked.
        stylizer: ready to use.
        out: folder or file to be.
        say: takes a line for the user.
    """

    arguments: Arguments
    stylizer: Stylizer
    out: Path
    say: Callable[[str], None]

    def files(self) -> None:
        """A folder or a pattern of pictures, or one picture.

        Raises:
            UserError: nothing there, or the place is taken.
        """
        assert self.arguments.content is not None
        root = Path(self.arguments.content).expanduser()
        if root.is_dir():
            self._outside(root)
        if str(root) == "-" or root.suffix.lower() in TABLES:
            raise ConfigError(
                f"content={root}: copies are called as below a folder: give it, or a picture, a film, 'photos/**/*.jpg'"
            )
        listed = list_pictures(root, key="content")
        for line in listed.notes:
            self.say(line)
        if root.is_file():
            self._one(root)
            return
        rows = zip(listed.names, listed.files, strict=True)
        own = self.out.resolve(), beside(self.out, "sheet.png").resolve()  # of an earlier command
        kept = [(name, file) for name, file in rows if not any(file.resolve().is_relative_to(place) for place in own)]
        if not kept:
            raise ConfigError(f"content={root}: all of it lies in out={self.out}: give another out=")
        content = Files([name for name, _ in kept], [file for _, file in kept])
        self._all(content, {"content": str(root.resolve())}, root if root.is_dir() else None)

    def samples(self, config: VitConfig) -> None:
        """Pictures that a data set of classifiers draws or has in memory: its training and validation splits.

        Raises:
            UserError: data that lie in files, or cannot be read.
        """
        data = config.data
        if not data.kind.in_memory:
            raise ConfigError(f"data={data.kind.value} lies in files: give content={data.root or 'PATH'}, their folder")
        sources = {split: open_source(config, split, None) for split in ("train", "val")}
        facts = {"content": f"{data.kind.value}, {[len(source) for source in sources.values()]} pictures"}
        told = {key: value for key, value in vars(data).items() if key.startswith("shapes_")}
        facts["data"] = blake2b(repr((config.resolution, told)).encode(), digest_size=8).hexdigest()
        self._all(Samples(sources), facts)

    def film(self) -> None:
        """A film, or a folder of pictures as one.

        Raises:
            UserError: it cannot be read, or nothing can be written there.
        """
        arguments = self.arguments
        assert arguments.content is not None
        source, longest = Path(arguments.content).expanduser(), arguments.size
        styles = self._styles()
        if source.is_dir():
            frames = partial(folder_frames, list_pictures(source, key="content").files, longest)
            fps = arguments.fps or _FPS
        elif source.is_file():
            frames, fps = partial(video_frames, source, longest), arguments.fps or frame_rate(source)
        else:
            raise DataError(f"content={source}: there is no such file or folder; seen from {Path.cwd()}")
        check_out(self.out, fps)
        check_apart(self.out, source, "content")
        chosen = styles.drawn(source.name, arguments.style_seed)
        style_picture = styles.read(chosen)
        self._check_decoders(style_picture)
        style = self.stylizer.style(unit(style_picture, self.stylizer.device))
        sampled, count = sample(followed(frames(), unit="frame", what="statistics"))
        if not count:
            raise DataError(f"content={source}: there is no frame in it that can be decoded; give another film")
        several = f" of {len(styles.names)}" if len(styles.names) > 1 else ""
        self.say(f"{count} frames in the style of {styles.names[chosen]}{several}, {_told(arguments)}")
        height, width = sampled[0].shape[1:]
        flicker, rows = Flicker(), []
        shown = set(spread(count, _SHOWN))
        drawn = redrawn(self.stylizer, frames, style, arguments.statistics, arguments.window, sampled)
        with video_output(self.out, fps, (height, width)) as writer:
            for number, (before, after) in enumerate(followed(zip(frames(), drawn, strict=True), count, unit="frame")):
                writer.write(after.permute(1, 2, 0))
                flicker.add(before, after)
                if number in shown:
                    rows.append(Shown((before, style_picture, after), (f"frame {number}", styles.names[chosen])))
        if flicker.ratio is not None:
            self.say(f"flicker {flicker.ratio:.3f}: change from frame to frame in that of the source")
        self._show(rows)

    def _check_decoders(self, style: Tensor) -> None:
        """Say how well a style's picture, uint8 (3, H, W), is decoded: files from several places may not fit."""
        found = self.stylizer.fidelity(unit(style, self.stylizer.device))
        told = ", ".join(f"{value:.1f} dB at level {level}" for level, value in found.items())
        self.say(f"a style's picture encoded and decoded: {told}")
        if min(found.values()) < _UNLIKE:
            self.say("warning: that is another picture: the decoders are of another encoder, or not trained yet")

    def _outside(self, root: Path) -> None:
        """Copies in the content's folder would be content the next time."""
        if self.out.resolve().is_relative_to(root.resolve()):
            raise ConfigError(f"out={self.out} lies in content={root}: give a place beside it")

    def _styles(self) -> Styles:
        listed = list_pictures(self.arguments.style, key="style")
        return Styles(listed.names, [Path(file) for file in listed.files], self.arguments.style_size)

    def _facts(self, styles: Styles) -> dict[str, str | float | None]:
        """What decides how copies look."""
        weights = blake2b(digest_size=8)
        add_weights(weights, self.stylizer.network)
        arguments, stylizer = self.arguments, self.stylizer
        return {
            "transform": stylizer.transform,
            "alpha": stylizer.alpha,
            "levels": ",".join(map(str, stylizer.levels)),
            "regularise": stylizer.regularise,
            "size": arguments.size,
            "style_seed": arguments.style_seed,
            "weights": weights.hexdigest(),
            **styles.facts(),
        }

    def _all(self, content: Content, facts: dict[str, str], root: Path | None = None) -> None:
        if written_as(self.out) is not None:
            raise ConfigError(
                f"out={self.out} names one picture, the content has many: give a folder, like out=stylised"
            )
        styles = self._styles()
        claim(self.out, facts | self._facts(styles))
        if root is not None:
            copy_tables(root, self.out)
        given = [styles.drawn(name, self.arguments.style_seed) for name in content.names]
        table, unreadable = beside(self.out, "styles.csv"), beside(self.out, "unreadable.csv")
        rows = [(name, styles.names[style]) for name, style in zip(content.names, given, strict=True)]
        write_table(table, ("file", "style"), rows)
        done = sum((self.out / name).is_file() for name in content.names)
        more = f", {done} are done" if done else ""
        self.say(f"{len(content.names)} pictures, {len(styles.names)} styles{more}")
        self._check_decoders(styles.read(given[0]))
        bad = redraw_all(self.stylizer, content, styles, given, self.out, self.arguments.size)
        for index, reason in sorted(bad.items())[:_NAMED]:
            self.say(f"cannot be used: {content.names[index]}: {reason}")
        unreadable.unlink(missing_ok=True)
        if bad:
            write_table(unreadable, ("file", "reason"), [(content.names[i], bad[i]) for i in sorted(bad)])
            self.say(f"{len(bad)} pictures cannot be used and have no copy: {unreadable}")
        good = [index for index in range(len(content.names)) if index not in bad]
        self.say(f"written: {self.out} ({len(good)} pictures), {table}")
        chosen = [good[place * (len(good) - 1) // max(_SHOWN - 1, 1)] for place in range(_SHOWN)] if good else []
        self._show(
            [
                Shown(
                    (content.read(i).pixels, styles.read(given[i]), _read(self.out / content.names[i])),
                    (content.names[i], styles.names[given[i]]),
                )
                for i in dict.fromkeys(chosen)
            ]
        )

    def _one(self, file: Path) -> None:
        if written_as(self.out) is None:
            raise ConfigError(
                f"out={self.out}: a picture is written as .png, .jpg, .webp, .tif or .bmp; give such a name"
            )
        check_place("out", self.out)
        check_apart(self.out, file, "content")
        styles = self._styles()
        chosen = styles.drawn(file.name, self.arguments.style_seed)
        picture, style = Files([file.name], [file]).read(0), styles.read(chosen)
        self._check_decoders(style)
        image = unit(reduced(picture.pixels, self.arguments.size), self.stylizer.device)
        drawn = to_bytes(self.stylizer(image, self.stylizer.style(unit(style, self.stylizer.device))))
        write_copy(self.out, drawn, picture)
        self.say(f"written: {self.out}, in the style of {styles.names[chosen]}")
        self._show([Shown((picture.pixels, style, drawn), (file.name, styles.names[chosen]))])

    def _show(self, rows: Sequence[Shown]) -> None:
        if not rows:
            return
        path, stylizer = beside(self.out, "sheet.png"), self.stylizer
        title = f"{stylizer.transform}, alpha {stylizer.alpha:g}, levels {', '.join(map(str, stylizer.levels))}"
        write_png(path, sheet(rows, title))
        self.say(f"to be looked at: {path}")


def _read(path: Path) -> Tensor:
    return decode(read_bytes(path), path)


def _told(arguments: Arguments) -> str:
    if arguments.statistics is Statistics.window:
        return f"by statistics of {arguments.window} frames around each"
    return (
        "by statistics of the whole film" if arguments.statistics is Statistics.film else "each by its own statistics"
    )
