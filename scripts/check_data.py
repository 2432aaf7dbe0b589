"""Read a data set once: clips, lengths, sizes, label histogram, files that cannot be used; writes a contact sheet.

python scripts/check_data.py data=folders data.root=../shared/samples/street data.labels_dir=seg_maps
python scripts/check_data.py data=video data.root=clips/
python scripts/check_data.py data=folders data.root=PATH data.flow=raft data.flow_weights=raft_large.pth flow=true

Exit code 0 when every frame can be used, 2 when some cannot.
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
from vid2vid.config import Vid2VidConfig


@dataclass
class Arguments:
    out: str = "runs/check_data.png"  # contact sheet
    flow: bool = False  # also compute the reference flow of all stages into data.flow_cache, on the GPU if there is one
    overrides: list[str] = field(default_factory=list)


@guarded
def main() -> None:
    arguments = parse_args(Arguments)
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    chosen = [] if any(word.startswith("model=") for word in arguments.overrides) else ["model=vid2vid"]
    config: Vid2VidConfig = compose([*chosen, *arguments.overrides], {"vid2vid": Vid2VidConfig})

    import torch
    from tqdm import tqdm

    from vid2vid.data.check import (
        check_data,
        fill_flow_cache,
        find_sequences,
        format_report,
        stage_resolutions,
    )
    from vid2vid.data.contact_sheet import contact_sheet

    def progress(counts, total):
        with tqdm(total=total, unit="frame") as bar:
            for count in counts:
                bar.update(count)
                yield count

    torch.set_num_threads(1)  # the threads that read share the cores
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
    sys.exit(0 if report.usable else 2)


if __name__ == "__main__":
    main()
