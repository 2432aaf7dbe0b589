"""Which picture and which mask belong together, for the ways in which segmentation data sets lie on disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from trainer.config.schema import show
from trainer.data.labels.colour_tables import TRAIN_IDS
from trainer.data.natural_order import natural_key
from trainer.data.pictures.files import picture_extensions
from trainer.errors import DataError
from trainer.text import few
from vit.data.sources.layout import Skipped, check_folder, pictures_below, role_in
from vit.segmentation.config import Layout, MasksConfig

IMAGES = ("images", "image", "imgs", "img", "pictures", "img_dir", "JPEGImages", "leftImg8bit")
MASKS = ("masks", "mask", "labels", "label", "annotations", "ann_dir", "SegmentationClass", "gt", "gtFine")
_CITYSCAPES_MAP = ",".join([*(f"{label}:{new}" for new, label in enumerate(TRAIN_IDS)), "*:255"])  # others are void


@dataclass(frozen=True)
class Pair:
    """A picture and its mask; ``name`` is theirs, the same wherever the data lie."""

    name: str
    image: Path
    mask: Path


@dataclass
class Listed:
    """The pairs of a data set, and what its layout tells of its masks.

    Attributes:
        layout: which it is.
        pairs: by split; of splits that it has. ``train`` has all where it has none.
        palette: as `data.palette`: names and colours of its classes, if known.
        names: of its classes, if they stand beside it.
        label_map: as `data.label_map`, of its masks.
        reduce_zero_label: whether 0 is void, and 1 the first class.
        notes: what the user should know.
    """

    layout: Layout
    pairs: dict[str, list[Pair]]
    palette: str | None = None
    names: list[str] = field(default_factory=list)
    label_map: str | None = None
    reduce_zero_label: bool = False
    notes: list[str] = field(default_factory=list)


def list_pairs(data: MasksConfig, key: str, root: str) -> Listed:
    """Every picture below a root with its mask.

    Args:
        key: that gave ``root``, for messages.

    Raises:
        DataError: no such layout, pictures or masks without their counterpart.
    """
    path = Path(root).expanduser()
    check_folder(key, path)
    layout = data.layout if data.layout is not Layout.auto else _recognised(path)
    return _LISTERS[layout](data, path)


def _recognised(root: Path) -> Layout:
    if (root / "leftImg8bit").is_dir() and (root / "gtFine").is_dir():
        return Layout.cityscapes
    if (root / "JPEGImages").is_dir() and (root / "ImageSets" / "Segmentation").is_dir():
        return Layout.voc
    if (root / "images" / "training").is_dir() and (root / "annotations" / "training").is_dir():
        return Layout.ade20k
    return Layout.folders


def _folders(data: MasksConfig, root: Path) -> Listed:
    """images/ and masks/ below the root, with train/ and val/ in them or not; or both below train/ and val/."""
    above = {role: folder for folder in _subfolders(root) if (role := role_in(folder.name)) is not None}
    if _both(data, root) is None and any(_both(data, folder) for folder in above.values()):
        pairs, notes = {}, []
        for role, folder in above.items():
            found = _both(data, folder)
            if found is not None:
                pairs[role] = _matched(*found, data.mask_suffix)
            else:
                notes.append(f"{folder}: has no masks, so it is left out")
        return Listed(Layout.folders, _required(pairs, root), notes=notes)
    found = _both(data, root)
    if found is None:
        raise DataError(_no_folders(data, root))
    images, masks = found
    if any(role_in(folder.name) for folder in _subfolders(masks)):
        return _split_inside(data, images, masks)
    return Listed(Layout.folders, _required({"train": _matched(images, masks, data.mask_suffix)}, root))


def _split_inside(data: MasksConfig, images: Path, masks: Path) -> Listed:
    """images/train beside masks/train, and so on."""
    by_role = {role: folder for folder in _subfolders(images) if (role := role_in(folder.name)) is not None}
    pairs, notes = {}, []
    for folder in _subfolders(masks):
        role = role_in(folder.name)
        if role is None or role not in by_role:
            raise DataError(
                f"{folder}: masks of a split that {images} has no pictures of ({few(f.name for f in by_role.values())} "
                "are there). Name both folders alike"
            )
        pairs[role] = _matched(by_role[role], folder, data.mask_suffix)
    for role in sorted(by_role.keys() - pairs.keys()):
        notes.append(f"{by_role[role]}: has no masks in {masks}, so it is left out")
    return Listed(Layout.folders, _required(pairs, masks), notes=notes)


def _cityscapes(data: MasksConfig, root: Path) -> Listed:
    pairs: dict[str, list[Pair]] = {}
    kinds: set[str] = set()
    for split in ("train", "val"):
        images, masks = root / "leftImg8bit" / split, root / "gtFine" / split
        if not images.is_dir():
            continue
        pictures = _files(images, lambda stem: stem.removesuffix("_leftImg8bit"))
        labels: dict[str, Path] = {}
        for kind in ("_gtFine_labelTrainIds", "_gtFine_labelIds"):
            labels = _files(masks, lambda stem, kind=kind: stem.removesuffix(kind) if stem.endswith(kind) else None)
            if labels:
                kinds.add(kind)
                break
        pairs[split] = _joined(pictures, labels, images, masks, "")
    if len(kinds) > 1:
        raise DataError(
            f"{root}: one split has *_labelTrainIds.png, the other *_labelIds.png: make the former for both "
            "(cityscapesScripts' createTrainIdLabelImgs), or remove them"
        )
    raw = kinds == {"_gtFine_labelIds"}
    note = [f"{root}: *_labelIds.png; their 19 evaluated classes are taken, all others are void"] if raw else []
    return Listed(
        Layout.cityscapes, _required(pairs, root), "cityscapes_train_ids", [], _CITYSCAPES_MAP if raw else None,
        notes=note,
    )  # fmt: skip


def _ade20k(data: MasksConfig, root: Path) -> Listed:
    folders = {"train": "training", "val": "validation"}
    pairs = {
        split: _matched(root / "images" / name, root / "annotations" / name, data.mask_suffix)
        for split, name in folders.items()
        if (root / "images" / name).is_dir()
    }
    names: list[str] = []
    told = root / "objectInfo150.txt"
    if told.is_file():  # Idx, Ratio, Train, Val, Stuff, Name: names separated by commas, the first the usual one
        rows = [line.split("\t") for line in told.read_text(encoding="utf-8").splitlines()[1:] if line.strip()]
        names = [row[-1].split(",")[0].strip() for row in rows]
    names = names or [f"class {number}" for number in range(1, 151)]
    return Listed(Layout.ade20k, _required(pairs, root), names=names, reduce_zero_label=True)


def _voc(data: MasksConfig, root: Path) -> Listed:
    images, masks = root / (data.images or "JPEGImages"), root / (data.masks or "SegmentationClass")
    lists = root / "ImageSets" / "Segmentation"
    pictures, labels = _files(images, lambda stem: stem), _files(masks, lambda stem: stem)
    pairs: dict[str, list[Pair]] = {}
    for split, name in (("train", data.train_list), ("val", "val")):
        file = lists / f"{name}.txt"
        if not file.is_file() and split == "val":
            continue  # `data.val_share` of the training list, as of any data without a split
        if not file.is_file():
            have = few(sorted(path.name for path in lists.glob("*.txt"))) or "none"
            raise DataError(f"data.train_list: there is no {file}; {lists} has {have}")
        lines = (line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines())
        wanted = [line if line in pictures else _first_name(line) for line in lines if line]
        own = [{stem: found[stem] for stem in wanted if stem in found} for found in (pictures, labels)]
        lacking = [stem for stem in wanted if stem not in pictures or stem not in labels]
        if lacking:
            where = masks if lacking[0] in pictures else images
            raise DataError(f"{file} lists {lacking[0]} ({len(lacking)} such), which {where} has no file of")
        pairs[split] = _joined(own[0], own[1], images, masks, "")
    return Listed(Layout.voc, _required(pairs, root), "voc")


def _first_name(line: str) -> str:
    """Of a line NAME, NAME LABEL or PATH PATH, as lists of VOC's makers and of others are: the name."""
    first = Path(line.split()[0])
    return first.stem if first.suffix.lower() in picture_extensions() else first.name


_LISTERS: dict[Layout, Callable[[MasksConfig, Path], Listed]] = {
    Layout.folders: _folders,
    Layout.cityscapes: _cityscapes,
    Layout.ade20k: _ade20k,
    Layout.voc: _voc,
}


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _both(data: MasksConfig, folder: Path) -> tuple[Path, Path] | None:
    """The folders of pictures and of masks in a folder."""
    images, masks = _one(data.images, IMAGES, folder), _one(data.masks, MASKS, folder)
    return None if images is None or masks is None else (images, masks)


def _one(given: str | None, usual: tuple[str, ...], folder: Path) -> Path | None:
    if given is not None:
        return folder / given if (folder / given).is_dir() else None
    own = {path.name.lower(): path for path in _subfolders(folder)}
    return next((own[name.lower()] for name in usual if name.lower() in own), None)


def _no_folders(data: MasksConfig, root: Path) -> str:
    have = few(path.name for path in _subfolders(root)) or "no folder"
    wanted = " and ".join(
        f"data.{key}={given}" if given else f"a folder of {key} ({', '.join(usual[:3])}, ...)"
        for key, given, usual in (("images", data.images, IMAGES), ("masks", data.masks, MASKS))
    )
    return (
        f"{root}: needs {wanted}, in it or in its train/ and val/; it holds {have}. "
        "data.images=NAME data.masks=NAME name them"
    )


def _files(folder: Path, key: Callable[[str], str | None]) -> dict[str, Path]:
    """Picture files at any depth by their path below the folder without ending, as ``key`` changes its last part.

    Raises:
        DataError: no such folder, or two files of one name.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder")
    found: dict[str, Path] = {}
    for text in pictures_below(folder, picture_extensions(), Skipped()):
        path = Path(text)
        stem = key(path.stem)
        if stem is None:
            continue
        name = (path.parent.relative_to(folder) / stem).as_posix()
        if name in found:
            raise DataError(f"{found[name]} and {path} have the same name: remove one of them")
        found[name] = path
    return found


def _matched(images: Path, masks: Path, suffix: str) -> list[Pair]:
    pictures = _files(images, lambda stem: stem)
    labels = _files(masks, lambda stem: stem.removesuffix(suffix) if stem.endswith(suffix) else None)
    return _joined(pictures, labels, images, masks, suffix)


def _joined(pictures: dict[str, Path], labels: dict[str, Path], images: Path, masks: Path, suffix: str) -> list[Pair]:
    alone, orphans = sorted(pictures.keys() - labels.keys()), sorted(labels.keys() - pictures.keys())
    if alone or orphans:
        parts = []
        if alone:
            parts.append(f"{len(alone)} of {len(pictures)} pictures in {images} have no mask ({few(alone, 3)})")
        if orphans:
            parts.append(f"{len(orphans)} of {len(labels)} masks in {masks} no picture ({few(orphans, 3)})")
        raise DataError(f"{'; '.join(parts)}. {_remedy(alone, orphans, suffix)}")
    return [Pair(name, pictures[name], labels[name]) for name in sorted(pictures, key=natural_key)]


def _remedy(alone: list[str], orphans: list[str], suffix: str) -> str:
    """How pictures and masks without each other might be brought together."""
    more = {name.removeprefix(stem) for stem in alone for name in orphans if stem and name.startswith(stem)}
    if suffix or len(more) != 1 or len(alone) != len(orphans):
        return "They are matched by their names without ending: rename or remove them, or give data.mask_suffix=TEXT"
    return f"Masks have more in their names: give data.mask_suffix={show(more.pop())}"


def _required(pairs: dict[str, list[Pair]], root: Path) -> dict[str, list[Pair]]:
    found = {split: own for split, own in pairs.items() if own}
    if not found:
        raise DataError(f"{root}: has no pictures with masks")
    return found
