"""Checks of where the data are and how they are drawn (`data.*`). Loads no torch.

`vid2vid.data.settings` has those of how files are read.
"""

from __future__ import annotations

from trainer.config.schema import show
from trainer.validate import at_least, existing
from vid2vid.config import CropKind, DataConfig, DataKind, FlowMethod


def data_problems(data: DataConfig) -> list[str]:
    """One line for each setting of the data and their flow that cannot be: key, value, remedy."""
    found = []
    for name, value in {
        "workers": 0,
        "frame_step": 1,
        "start_frames": 1,
        "clips": 1,
        "val_clips": 1,
        "val_frames": 1,
        "supersample": 1,
        "face_gap": 0,
    }.items():
        found += at_least(f"data.{name}", getattr(data, name), value)
    if not 0.0 <= data.flip <= 1.0:
        found.append(f"data.flip={data.flip}: a probability, between 0 and 1")
    if not 0.0 <= data.pose_drop <= 1.0:
        found.append(f"data.pose_drop={data.pose_drop}: a probability, between 0 and 1")
    if not 0.0 < data.val_share < 1.0:
        found.append(
            f"data.val_share={data.val_share}: must lie between 0 and 1, for example 0.1; or give data.val_root"
        )
    if len(data.scale) != 2 or not 1.0 <= data.scale[0] <= data.scale[1]:
        found.append(
            f"data.scale={show(data.scale)}: needs [least, most], both at least 1 (1: the frame just covers the crop); "
            "for example [1.0,1.2]"
        )
    if not 0 <= data.edge_low < data.edge_high:
        found.append(f"data.edge_low={data.edge_low} must be below data.edge_high={data.edge_high}, and not negative")
    if data.fps is not None and not 0 < data.fps <= 1000:
        found.append(
            f"data.fps={show(data.fps)}: frames per second, above 0 and at most 1000; null keeps the file's own"
        )
    if data.fps is not None and data.kind is not DataKind.video:
        found.append(f"data.fps={show(data.fps)} resamples video files, but data={show(data.kind)}: set data.fps=null")
    if data.cut_threshold is not None and not 0 < data.cut_threshold < 1:
        found.append(
            f"data.cut_threshold={show(data.cut_threshold)}: a share between 0 and 1, for example 0.15; "
            "null looks for no cuts"
        )
    if data.crop is CropKind.face and not any(str(word).startswith("face:") for word in data.sources):
        found.append(
            f"data.crop=face, but data.sources={show(data.sources)} has no face:FOLDER that says where faces are: add "
            "it, or set data.crop=none"
        )
    if not data.kind.built_in:
        found += existing("data.root", data.root, f"data={show(data.kind)} reads files; give data.root=PATH")
        found += existing("data.val_root", data.val_root)
    found += _flow_problems(data)
    return found


def _flow_problems(data: DataConfig) -> list[str]:
    if data.flow is FlowMethod.exact and data.kind is not DataKind.street:
        return [f"data.flow=exact is known for data=street only, not for {show(data.kind)}: use data.flow=dis"]
    if data.flow is FlowMethod.precomputed:
        found = [] if data.flow_dir else ["data.flow_dir is not set: data.flow=precomputed reads flow files from it"]
        if data.kind is DataKind.street:
            found.append("data.flow=precomputed, but data=street is rendered while training: use data.flow=exact")
        if data.frame_step != 1:
            found.append(
                f"data.flow=precomputed is between neighbouring frames, data.frame_step={data.frame_step} skips some: "
                "set data.frame_step=1, or data.flow=dis"
            )
        return found
    if data.flow is FlowMethod.raft:
        needed = "data.flow=raft needs a weights file, or 'torchvision' to download it"
        return existing("data.flow_weights", data.flow_weights, needed, allowed=("torchvision",))
    return []
