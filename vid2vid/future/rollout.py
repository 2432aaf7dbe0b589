"""Label maps in, as they are observed; label maps out, as they are predicted: one sequence, one map at a time.

Shapes: H x W pixels, L past maps, C classes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vid2vid.future.moving import carry_instances
from vid2vid.future.trained import LoadedPredictor


class LabelRollout:
    """Predicts the label maps, and instance ids, that follow on those observed.

    Args:
        run: the predictor.
    """

    def __init__(self, run: LoadedPredictor) -> None:
        self.run = run
        self._ids = torch.tensor(run.encoder.ids, device=run.compute.device)
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next map is the first of a sequence."""
        self._past: deque[Tensor] = deque(maxlen=self.run.past_frames)
        self._labels: Tensor | None = None
        self._instances: Tensor | None = None

    @torch.inference_mode()
    def observe(self, frame: Mapping[str, Any]) -> None:
        """The next true frame: ``labels`` (H, W) ids, and ``instances`` (H, W) where they are known.

        Raises:
            DataError: a label id that the predictor has no class for.
        """
        device = self.run.compute.device
        self._labels = torch.as_tensor(frame["labels"]).to(device)
        instances = frame.get("instances")
        self._instances = None if instances is None else torch.as_tensor(instances).to(device)
        self._past.append(self.run.encoder.encode({"labels": self._labels[None, None]}))

    @torch.inference_mode()
    def step(self) -> dict[str, Tensor]:
        """The next predicted frame: ``labels`` (H, W), ``instances`` (H, W) where they were observed, ``flow``
        (2, H, W) in pixels to the frame before. Types are those of the frames observed.

        Raises:
            ValueError: fewer than L maps were observed.
        """
        if len(self._past) < self.run.past_frames or self._labels is None:
            raise ValueError(f"{len(self._past)} label maps observed, the predictor needs {self.run.past_frames}")
        with self.run.compute.amp():
            out = self.run.predictor(torch.cat(list(self._past), dim=1), 1)
        self._past.append(out.composed)
        labels = self._ids[out.composed[0, 0].argmax(0)].to(self._labels.dtype)
        made = {"labels": labels, "flow": out.flow[0, 0]}
        if self._instances is not None:
            self._instances = carry_instances(self._instances, self._labels, labels, made["flow"])
            made["instances"] = self._instances
        self._labels = labels
        return made
