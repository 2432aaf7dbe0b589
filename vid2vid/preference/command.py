"""``scripts/ab_sheet.py``: its arguments, and what it says."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trainer.config.schema import Schemas
from trainer.config.short_forms import shown_override
from trainer.errors import ConfigError, DataError
from vid2vid.preference.serve import SheetServer
from vid2vid.preference.sheet import Key, check_new, key_path, match, read_key, votes_path, write_sheet
from vid2vid.preference.votes import checked, read_votes, report

_VOTES = "-votes.json"


@dataclass
class Arguments:
    """video models"""

    a: str | None = None  # a run, a folder of videos, or a video
    b: str | None = None  # the other one: pairs have the same name
    out: str | None = None  # folder for page and videos; the key goes beside it, OUT-key.json
    source: str | None = None  # what runs make videos of, as for generate.py; null: held-out scenes of the street
    clips: int = 8  # at most so many pairs
    frames: int | None = None  # of a run's videos; null: data.val_frames of the street, all of other sources
    repeats: int = 1  # how often each pair is shown to one voter, with sides exchanged
    seed: int = 0  # draws order and sides
    question: str = "Which video looks more like a real one?"  # above each pair
    serve: bool = False  # keep the votes: open the page at a server on this machine, until Ctrl-C
    port: int = 8000  # of the server; 0: any that is free
    votes: str | None = None  # instead: say what these votes tell, a file of the page or of the server, or a folder
    key: str | None = None  # of the sheet that was voted on; null: beside OUT, or beside OUT-votes.json


def run(arguments: Arguments, schemas: Schemas, say: Callable[[str], None]) -> None:
    """Make a blind sheet, serve one, or say what its votes tell.

    Args:
        schemas: of all tasks.
        say: takes a line for the user.

    Raises:
        UserError: arguments, videos or votes that cannot be used.
    """
    if arguments.votes is not None:
        return _tell(arguments, say)
    out = None if arguments.out is None else Path(arguments.out)
    if out is None:
        raise ConfigError("out=... is missing: the folder for page and videos (or votes=FILE, to count votes)")
    if arguments.a is None and arguments.b is None and arguments.serve:
        if not (out / "index.html").is_file():
            raise ConfigError(f"out={out}: holds no sheet yet; make one with a=... b=...")
        return _serve(out, read_key(key_path(out)), arguments.port, say)
    if arguments.a is None or arguments.b is None:
        missing = "a" if arguments.a is None else "b"
        raise ConfigError(f"{missing}=... is missing: a run, a folder of videos, or a video")
    key = _make(arguments, {"a": Path(arguments.a), "b": Path(arguments.b)}, out, schemas, say)
    say(f"{out / 'index.html'}: {len(key.trials)} pairs, to be opened in a browser or handed on with its folder")
    say(f"{key_path(out)}: whose they are; keep it from voters")
    if arguments.serve:
        return _serve(out, key, arguments.port, say)
    say(f"then: python scripts/ab_sheet.py votes=votes.json {shown_override('key', key_path(out))}")


def _make(arguments: Arguments, given: dict[str, Path], out: Path, schemas: Schemas, say: Callable[[str], None]) -> Key:
    for name, value in (("clips", arguments.clips), ("repeats", arguments.repeats), ("frames", arguments.frames)):
        if value is not None and value < 1:
            raise ConfigError(f"{name}={value}: must be at least 1")
    check_new(out)
    from vid2vid.preference.videos import check_alike, check_same_streets, generated_videos, given_videos, is_run

    videos = {side: given_videos(path, side) for side, path in given.items() if not is_run(path)}
    videos = {side: dict(list(files.items())[: arguments.clips]) for side, files in videos.items()}
    if not videos and arguments.source is None:
        check_same_streets(given, schemas)
    with tempfile.TemporaryDirectory(prefix="ab_sheet-") as scratch:
        for side, path in given.items():
            if side not in videos:
                folder = Path(scratch) / side
                folder.mkdir()
                videos[side] = generated_videos(
                    path,
                    side,
                    folder,
                    schemas=schemas,
                    source=arguments.source,
                    clips=arguments.clips,
                    frames=arguments.frames,
                    say=say,
                )
        pairs = match(videos["a"], videos["b"])
        check_alike(pairs["a"], pairs["b"])
        return write_sheet(
            out,
            pairs,
            {side: str(path) for side, path in given.items()},
            seed=arguments.seed,
            repeats=arguments.repeats,
            question=arguments.question,
        )


def _serve(out: Path, key: Key, port: int, say: Callable[[str], None]) -> None:
    with SheetServer(out, key, port) as server:
        say(f"open {server.address} in a browser; votes are kept in {server.votes}; Ctrl-C ends it")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("")
    if votes_path(out).is_file():
        for line in report(checked(read_votes(votes_path(out)), key), key):
            say(line)


def _tell(arguments: Arguments, say: Callable[[str], None]) -> None:
    path = Path(str(arguments.votes))
    files = sorted(p for p in path.iterdir() if p.suffix in (".json", ".csv")) if path.is_dir() else [path]
    if not files:
        raise DataError(f"votes={path}: holds no .json or .csv")
    if arguments.key is not None:
        key = Path(arguments.key)
    elif arguments.out is not None:
        key = key_path(Path(arguments.out))
    elif path.name.endswith(_VOTES):
        key = path.with_name(path.name.removesuffix(_VOTES) + "-key.json")
    else:
        raise ConfigError("key=... is missing: the file OUT-key.json that was written beside the sheet")
    read = read_key(key)
    for line in report(checked([vote for file in files for vote in read_votes(file)], read), read):
        say(line)
