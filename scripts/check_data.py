"""Read a data set once: counts, sizes, what was skipped, files that cannot be used; writes a contact sheet.

python scripts/check_data.py data=imagefolder data.root=PATH
python scripts/check_data.py data=digits
python scripts/check_data.py data=imagenet data.root=PATH most=2000
python scripts/check_data.py data=folders data.root=../shared/samples/street data.labels_dir=seg_maps
python scripts/check_data.py data=video data.root=clips/
python scripts/check_data.py data=folders data.root=PATH data.flow=raft data.flow_weights=raft_large.pth flow=true

Whose data these are follows from data=NAME, or from model=NAME where that is given. Exit code 0 when every frame or
picture can be used, 2 when some cannot.
"""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: spinning threads starve each other
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from trainer.cli import compose, guarded, parse_args
from trainer.errors import ConfigError
from vid2vid.config import Vid2VidConfig
from vit.config import DataKind, VitConfig


@dataclass
class Arguments:
    out: str = "runs/check_data.png"  # contact sheet; of a classifier's data one per split: check_data_val.png, ...
    most: int | None = None  # classifier: decode so many pictures of each split, spread evenly; all by default
    flow: bool = False  # also compute the reference flow of all stages into data.flow_cache, on the GPU if there is one
    overrides: list[str] = field(default_factory=list)


@guarded
def main() -> None:
    arguments = parse_args(Arguments)
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    chosen = [] if any(word.startswith("model=") for word in arguments.overrides) else [_model(arguments.overrides)]
    config = compose([*chosen, *arguments.overrides], {"vid2vid": Vid2VidConfig, "vit": VitConfig})

    import torch

    torch.set_num_threads(1)  # the threads that read share the cores
    usable = check_pictures(config, arguments) if config.task == "vit" else check_clips(config, arguments)
    sys.exit(0 if usable else 2)


def check_pictures(config: VitConfig, arguments: Arguments) -> bool:
    """A classifier's data: whether every picture that was decoded can be used."""
    if arguments.flow:
        raise ConfigError("flow=true: pictures have no flow; leave it out")
    if arguments.most is not None and arguments.most < 1:
        raise ConfigError(f"most={arguments.most}: give at least 1, or leave it out for all pictures")
    from trainer.data.workers import CPU_WORKERS
    from vit.data.check import check_split, contact_sheet, format_report, open_splits
    from vit.data.decoding.depth import depth_notes

    out, reports = Path(arguments.out), []
    for split, source in open_splits(config, print).items():
        threads = max(1, config.data.workers or CPU_WORKERS)
        report = check_split(source, split, _progress("picture"), arguments.most, threads)
        print(format_report([report]))
        sheet = contact_sheet(source, out.with_stem(f"{out.stem}_{split}"))
        if sheet is not None:
            print(f"  contact sheet: {sheet}")
        reports.append(report)
    deep = [value for report in reports for value in report.deep]  # of all splits: one range holds for all
    for note in depth_notes(deep, config, f"of all {len(deep)} that were looked at"):
        print(f"\n{note}")
    return not any(report.bad for report in reports)


def check_clips(config: Vid2VidConfig, arguments: Arguments) -> bool:
    """Clips of frames: whether every frame can be used."""
    if arguments.most is not None:
        raise ConfigError(f"most={arguments.most}: is for a classifier's pictures; leave it out")
    import torch

    from vid2vid.data.check import (
        check_data,
        fill_flow_cache,
        find_sequences,
        format_report,
        stage_resolutions,
    )
    from vid2vid.data.contact_sheet import contact_sheet
    from vid2vid.validate import validate

    if config.data.kind.name != "street":
        validate(config)
    progress = _progress("frame")
    sequences = find_sequences(config)
    report = check_data(config, sequences, progress)
    print(format_report(report))
    sheet = contact_sheet(sequences, Path(arguments.out))
    if sheet is not None:
        print(f"contact sheet: {sheet}")
    if arguments.flow:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        count = fill_flow_cache(sequences, config, stage_resolutions(config), device, progress)
        print(f"{count} flows in {config.data.flow_cache}")
    return report.usable


def _model(overrides: list[str]) -> str:
    """A model whose task has the data set that was asked for."""
    names = [word.partition("=")[2] for word in overrides if word.startswith("data=")]
    pictures = {kind.value for kind in DataKind}
    return "model=vit_base" if names and names[-1] in pictures else "model=vid2vid"


def _progress(unit: str):
    def progress(counts, total):
        from tqdm import tqdm

        with tqdm(total=total, unit=unit) as bar:
            for count in counts:
                bar.update(count if unit == "frame" else 1)
                yield count

    return progress


if __name__ == "__main__":
    main()
