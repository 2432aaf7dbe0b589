"""What ``scripts/demo.py`` leaves in its run to look at: a video, a contact sheet and the curves of the losses."""

from __future__ import annotations

from pathlib import Path

import torch

from trainer.files import replace_file
from trainer.records.media import write_png
from trainer.untrusted import plain_json
from vid2vid.data import open_source
from vid2vid.generate.panels import contact_sheet
from vid2vid.generate.video import Generated, generate_video
from vid2vid.trained import LoadedRun

CURVES = {
    "generator": ("g/l1", "g/gan", "g/feature", "g/gan_video0", "g/feature_video0"),
    "motion": ("g/flow", "g/flow_warp", "g/output_warp", "g/mask"),
    "discriminators": ("d_image/real", "d_image/fake", "d_video/real", "d_video/fake", "d_region/fake"),
    "mask and pixels": ("mask_mean", "l1_pixels"),
}


def draw_curves(run_dir: Path) -> Path:
    """Losses over steps as ``curves.png``, from the run's ``metrics.jsonl``."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    records = [plain_json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    records = [record for record in records if "losses" in record]
    steps = [record["step"] for record in records]
    figure, axes = pyplot.subplots(2, 2, figsize=(11, 6), layout="constrained")
    for axis, (title, names) in zip(axes.flat, CURVES.items(), strict=True):
        for name in names:
            values = [record["losses"].get(name) for record in records]
            if any(value is not None for value in values):
                axis.plot(steps, values, label=name.split("/")[-1] if title != "discriminators" else name, lw=1.2)
        axis.set(title=title, xlabel="step")
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
        if axis.has_data():
            axis.legend(fontsize=7)
    path = run_dir / "curves.png"
    replace_file(path, lambda place: figure.savefig(place, dpi=100, format="png"))
    pyplot.close(figure)
    return path


def make_video(run: LoadedRun, out: Path, frames: int, zoom: int) -> Generated:
    """Label | real | generated of a street that no training saw, enlarged ``zoom`` times for the eye."""
    sequence = next(iter(open_source("street", run.config, frames)))
    return generate_video(run, sequence, out, frames=frames, compare=True, zoom=zoom)


def make_contact_sheet(video: Path, out: Path, count: int = 6) -> Path:
    """Evenly spaced frames of a video, one under the other."""
    import av

    with av.open(str(video)) as container:
        frames = [torch.from_numpy(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    write_png(out, contact_sheet(torch.stack(frames), count))
    return out
