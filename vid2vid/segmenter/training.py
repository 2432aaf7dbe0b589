"""Training of a segmenter on real frames; a training that was interrupted goes on where it stood."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.checkpoint.weights import load_plain
from trainer.config.resolve import plain
from trainer.data.loader import make_eval_loader, make_loader
from trainer.errors import CheckpointError, ConfigError, DataError
from trainer.files import replace_file
from trainer.records.confusion import NONE, Confusion
from trainer.records.progress import Progress
from vid2vid.config import FlowMethod, SourceKind, Vid2VidConfig
from vid2vid.data import build_dataset, build_evaluation, settled
from vid2vid.encoding import images_to_float
from vid2vid.evaluate.measure import weights_of
from vid2vid.segmenter.classes import Classes, classes_of
from vid2vid.segmenter.file import CHUNK, SegmenterFacts
from vid2vid.segmenter.network import WIDTHS, UNet
from vid2vid.segmenter.picture import Reading

LEARNING_RATE, WEIGHT_DECAY, WARM_UP = 3e-3, 1e-2, 0.05
SAVE_EVERY_S = 30.0
READINGS = 4
SHOW_EVERY = 10  # steps: showing the loss waits for the device


class SegmenterTraining:
    """One training: the network, its optimiser and where it stands.

    Args:
        config: of the run or of the data; its resolution is the frames'.
        steps: updates in all; the rate falls to zero with the last one (half a cosine, after a short rise).
        batch_size: frames of an update, each of another clip.
        out: the file to be; where the training stands is kept beside it, in ``OUT.unfinished``.
        device: where to compute.

    Raises:
        ConfigError: the data have no labels; numbers that are no training; an unfinished training of other settings.
    """

    def __init__(self, config: Vid2VidConfig, *, steps: int, batch_size: int, out: Path, device: torch.device) -> None:
        if steps < 1 or batch_size < 1:
            raise ConfigError(f"steps={steps}, batch_size={batch_size}: must be at least 1")
        if config.model.source is SourceKind.image:
            raise ConfigError(
                "a segmenter learns from label maps, but model.source=image has none: give data with labels "
                "(data=street, data=folders, data=cityscapes)"
            )
        config = settled(deepcopy(config))
        # Neither flow nor instances are looked at.
        config = replace(
            config,
            data=replace(config.data, flow=FlowMethod.none),
            model=replace(config.model, instance_edges=False),
        )
        self.config, self.steps, self.batch_size, self.device = config, steps, batch_size, device
        self.classes: Classes = classes_of(config)
        self.done = 0
        self.readings: list[Reading] = []  # the middle frames of the first clips that `measure` looks at
        self._kept = out.with_name(out.name + ".unfinished")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.network = UNet(len(self.classes), WIDTHS).to(device)
        self._optimiser = torch.optim.AdamW(self.network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        if self._kept.is_file():
            self._load()

    def run(self, progress: Progress) -> None:
        """All steps that are left; interrupted, what was learnt so far is kept.

        Args:
            progress: shows steps, and the loss.
        """
        height, width = self.config.resolution
        loader = make_loader(
            build_dataset(self.config, "train", (height, width), 1),
            seed=self.config.seed,
            samples_seen=self.done * self.batch_size,
            batch_size=self.batch_size,
            workers=self.config.data.workers,
            device=self.device,
        )
        self.network.train()
        saved = time.monotonic()
        try:
            for batch in loader:
                if self.done == self.steps:
                    break
                loss = self._step(batch)
                self.done += 1
                if self.done % SHOW_EVERY == 0 or self.done == self.steps:
                    progress.show(self.done, self.steps, note=f"loss {loss.item():.3f}")
                if time.monotonic() - saved > SAVE_EVERY_S:
                    self._save()
                    saved = time.monotonic()
        except BaseException:
            self._save()
            raise
        finally:
            loader.close()
        self.network.eval()

    def measure(self) -> SegmenterFacts:
        """What the network makes of held-out real frames, those that evaluations compare with.

        Raises:
            DataError: none of their pixels has a class.
        """
        height, width = self.config.resolution
        dataset = build_evaluation(self.config, "val", (height, width))
        loader = make_eval_loader(dataset, batch_size=1, workers=self.config.data.workers, seed=self.config.seed)
        confusion, frames = Confusion(len(self.classes), self.device), 0
        self.readings = []
        for batch in loader:
            if not any(weights_of(batch)):
                continue
            images, labels = (batch[name][0].to(self.device) for name in ("images", "labels"))
            with torch.inference_mode():
                read = torch.cat([self.network(images_to_float(part)).argmax(1) for part in images.split(CHUNK)])
            true, middle = self.classes.of(labels), len(images) // 2
            confusion.add(read, true)
            if len(self.readings) < READINGS:
                self.readings.append(Reading(images[middle], true[middle], read[middle]))
            frames += len(images)
        if confusion.pixels == 0:
            raise DataError(
                "no pixel of the held-out frames has one of the classes: check data.label_map, or give other frames "
                "(data.val_root=PATH); what was learnt is kept, and the same command goes on with it"
            )
        data, (height, width) = self.config.data, self.config.resolution
        return SegmenterFacts(
            ids=self.classes.ids,
            names=self.classes.names,
            widths=WIDTHS,
            resolution=(height, width),
            data=data.kind.name + (f" {data.root}" if data.root else ""),
            steps=self.steps,
            frames=frames,
            mean_iou=confusion.mean_iou(),
            accuracy=confusion.accuracy(),
            ious=tuple(confusion.ious()),
        )

    def check_held_out(self) -> None:
        """Whether there are held-out frames to measure with, which is better known before the training than after it.

        Raises:
            ConfigError, DataError: as `build_evaluation`.
        """
        build_evaluation(self.config, "val", (self.config.resolution[0], self.config.resolution[1]))

    def keep(self) -> None:
        """Keep where the training stands beside the file to be: the next one goes on from there."""
        self._save()

    def forget(self) -> None:
        """Remove what was kept of the unfinished training."""
        self._kept.unlink(missing_ok=True)

    def _step(self, batch: Mapping[str, Any]) -> Tensor:
        images = batch["images"][:, 0].to(self.device)
        true = self.classes.of(batch["labels"][:, 0].to(self.device))
        for group in self._optimiser.param_groups:
            group["lr"] = LEARNING_RATE * rate_at(self.done / self.steps)
        scores = self.network(images_to_float(images))
        loss = balanced_cross_entropy(scores, true)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self._optimiser.step()
        return loss.detach()

    def _settings(self) -> str:
        # Which frames are held out does not matter to what is learnt, but whether they are part of data.root does.
        data = {k: v for k, v in plain(self.config.data).items() if not k.startswith("val_") and k != "workers"}
        data["val_root"] = self.config.data.val_root is not None
        return str({"ids": self.classes.ids, "steps": self.steps, "batch_size": self.batch_size,
                    "seed": self.config.seed, "resolution": self.config.resolution,
                    "data": data})  # fmt: skip

    def _save(self) -> None:
        state = {
            "settings": self._settings(),
            "done": self.done,
            "network": self.network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
        }
        replace_file(self._kept, lambda place: torch.save(state, place))

    def _load(self) -> None:
        try:
            state = load_plain(self._kept)
            same = state["settings"] == self._settings()
            if same:
                self.network.load_state_dict(state["network"])
                self._optimiser.load_state_dict(state["optimiser"])
                self.done = int(state["done"])
        except (CheckpointError, KeyError, TypeError, RuntimeError, ValueError) as error:
            raise CheckpointError(f"{self._kept} cannot be read ({error}): remove it to begin anew") from error
        if not same:
            raise ConfigError(
                f"{self._kept} is the unfinished training of other data, classes, steps or sizes: give these again to "
                "go on with it, remove it, or give another out="
            )


def balanced_cross_entropy(scores: Tensor, true: Tensor) -> Tensor:
    """Cross-entropy in which a class of n pixels counts n^(1/2): people, few pixels of a street, are learnt too.

    Args:
        scores: (N, K, H, W).
        true: (N, H, W) int64 classes; pixels of NONE do not count. Where all are NONE the loss is 0.
    """
    counts = torch.bincount((true + 1).flatten(), minlength=scores.shape[1] + 1)[1:]
    weights = torch.where(counts > 0, counts.clamp(min=1).float().rsqrt(), 0.0)
    total = F.cross_entropy(scores, true, weights, ignore_index=NONE, reduction="sum")
    return total / (weights * counts).sum().clamp(min=1)


def rate_at(share: float) -> float:
    """Learning rate at a share 0..1 of the training, relative to the highest."""
    if share < WARM_UP:
        return (share + 1e-3) / (WARM_UP + 1e-3)
    return 0.5 + 0.5 * math.cos(math.pi * (share - WARM_UP) / (1 - WARM_UP))
