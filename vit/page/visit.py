"""What one visitor asks about pictures, and the HTML that answers: apart from what any other visitor asks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from trainer.errors import DataError
from trainer.text import by, few
from vit.analysis.occlusion.dropping import Fill
from vit.page.classifier import ROLLOUT, Classifier, Sample, cells
from vit.page.drawing import (
    bars,
    colour_bar,
    figure,
    legend,
    message,
    percent,
    reduced,
    tiles,
    under_falls,
    under_map,
)
from vit.page.patch_grid import grid_html
from vit.page.segmented import Segmentation
from vit.page.shelf import Network, Shelf, Source
from vit.predict.order import likeliest

TOP = 5
MOST = 16  # pictures at once
SIDES = (1, 2, 4)  # of a cell in patches
MEAN, ALL = "mean", "all"  # of the heads
_WIDEST = 960  # pixels of a segmented picture's longer side
_TILE = 128  # of the picture under one of many heads
_MULTILABEL = "Several classes may be true: each has a probability of its own, and counts from 50 % on."


class Visit:
    """What is on one visitor's tab. No dataclass: gradio would copy all that one holds, at every event.

    Args:
        serial: where the count of pictures shown begins.

    Attributes:
        source: of the network that answers; None: none was chosen.
        asked: which network has answered, by its ``serial``.
        samples: pictures that could be read, as a classifier sees them.
        wholes: what it says of each, (K,) float32.
        segmented: of a segmentation, the name of each picture and its HTML.
        bad: files that could not be read, and why.
        chosen: the picture that is shown.
        side: of a cell in patches.
        fill: what stands in the place of hidden cells.
        hidden: numbers of the hidden cells.
        serial: of the picture and grid that are shown.
    """

    def __init__(self, serial: int = 0) -> None:
        self.source: Source | None = None
        self.asked = 0
        self.samples: list[Sample] = []
        self.wholes: list[np.ndarray] = []
        self.segmented: list[tuple[str, str]] = []
        self.bad: list[str] = []
        self.chosen, self.side, self.fill = 0, 1, Fill.mean
        self.hidden: list[int] = []
        self.serial = serial
        self._maps: tuple[Sample, int, dict[str, Tensor]] | None = None  # of which picture, by which network

    def ask(self, shelf: Shelf, source: Source, files: Sequence[tuple[Path, str]]) -> None:
        """Puts pictures before a network; those that cannot be read are in ``bad`` afterwards.

        Args:
            files: each with the name that its visitor knows it by.

        Raises:
            UserError: the network cannot be loaded, or no picture can be used; the visit stays as it was.
        """
        if len(files) > MOST:
            raise DataError(
                f"{len(files)} pictures at once: give {MOST} at most; scripts/predict.py takes whole folders"
            )
        network, good, wholes, drawn, bad = shelf.get(source), [], [], [], []
        for file, name in files:
            try:
                if isinstance(network, Segmentation):
                    drawn.append((name, _segmented(network, file, name)))
                else:
                    good.append(network.read(file, name))
                    wholes.append(network.probabilities(good[-1]))
            except DataError as error:
                bad.append(str(error))
        if bad and len(bad) == len(files):
            raise DataError(bad[0] if len(bad) == 1 else f"none of {len(bad)} files can be used; first {bad[0]}")
        self.source, self.samples, self.wholes, self.segmented, self.bad = source, good, wholes, drawn, bad
        self.asked = network.serial if isinstance(network, Classifier) else 0
        self.choose(0)

    def choose(self, number: int, side: int | None = None) -> None:
        """Shows another picture, or the same with cells of another size; nothing is hidden then."""
        if not 0 <= number < max(1, len(self.samples), len(self.segmented)):
            raise DataError(f"picture {number}: there are {len(self.samples) or len(self.segmented)}")
        self.chosen, self.side, self.hidden = number, side or self.side, []
        self.serial += 1

    @property
    def sample(self) -> Sample | None:
        return self.samples[self.chosen] if self.samples else None

    def network(self, shelf: Shelf) -> Network | None:
        """The network that answers; where its run has trained on, all answers are made anew."""
        if self.source is None:
            return None
        network = shelf.get(self.source)
        if isinstance(network, Classifier) and network.serial != self.asked:
            self.wholes = [network.probabilities(sample) for sample in self.samples]
            self.asked = network.serial
        return network

    def choices(self, network: Network | None) -> list[tuple[str, int]]:
        """The pictures by name, with the likeliest class of each."""
        if isinstance(network, Classifier):
            best = [network.best(whole, 1)[0] for whole in self.wholes]
            return [
                (f"{sample.name}: {name}, {percent(share)}", number)
                for number, (sample, (name, share)) in enumerate(zip(self.samples, best, strict=True))
            ]
        return [(name, number) for number, (name, _) in enumerate(self.segmented)]

    def about(self, network: Network | None, hidden: Callable[[str], str]) -> str:
        """HTML: whose answers these are and how the pictures were prepared, and which files are left out.

        Args:
            hidden: takes paths out of a text (``trainer.page.contract.Page.hidden``).
        """
        lines = [f"Left out: {line}" for line in self.bad]
        if isinstance(network, Classifier):
            predictor = network.predictor
            lines += [*predictor.lines, f"Pictures: {predictor.transform.describe()}"]
        elif isinstance(network, Segmentation):
            lines += [network.loaded.weights_line, f"Pictures: {network.loaded.transform.describe()}"]
        return "".join(message(hidden(line)) for line in lines)

    def grid(self, network: Classifier) -> str:
        """HTML of the picture under its cells, nothing hidden."""
        assert self.sample is not None
        what = "the frame in the middle of" if network.clips else "what the network sees of"
        grid = network.grid(self.sample.size, self.side)
        return grid_html(self.sample.picture, grid, self.serial, f"{what} {self.sample.name}")

    def bars(self, network: Classifier) -> str:
        """HTML of the likeliest classes, beside those of the whole picture where cells are hidden."""
        assert self.sample is not None
        whole, note = self.wholes[self.chosen], _MULTILABEL if network.predictor.multilabel else ""
        best = network.best(whole, TOP)
        if not self.hidden:
            return bars([(name, share, None) for name, share in best], f"Top {len(best)}", note)
        grid = network.grid(self.sample.size, self.side)
        hidden = cells(self.hidden, grid)
        now = network.probabilities(self.sample, hidden, self.fill)
        order = likeliest(now, TOP).tolist()
        first = int(whole.argmax())
        order += [] if first in order else [first]
        classes = network.predictor.classes
        rows = [(classes[k], float(whole[k]), float(now[k])) for k in order]
        return bars(rows, f"Top {len(best)} with {len(self.hidden)} of {hidden.numel()} cells hidden", note)

    def maps(self, network: Classifier) -> dict[str, Tensor]:
        """Maps of the picture that is shown, taken once; none where the network has none."""
        sample, kept = self.sample, self._maps
        assert sample is not None
        if kept is not None and kept[0] is sample and kept[1] == network.serial:
            return kept[2]
        found = {} if network.no_maps else network.maps(sample)
        self._maps = sample, network.serial, found
        return found

    def attention(self, network: Classifier, layer: str, head: str) -> str:
        """HTML of a map over the picture, with its colours; of all heads side by side; or why there is none.

        Args:
            layer: ``rollout``, ``block 1`` ... or ``pooling``.
            head: ``mean``, ``head 0`` ... or ``all``; of no meaning for the rollout.
        """
        assert self.sample is not None
        found = self.maps(network)
        if not found:
            return message(f"No attention maps: {network.no_maps}.")
        picture, name = self.sample.picture, self.sample.name
        if layer == ROLLOUT:
            values, words = found[ROLLOUT], f"rollout of attention through all layers over {name}"
        elif head == ALL:
            own = [key for key in found if key.startswith(f"{layer} head ")]
            small = reduced(picture, _TILE)
            shown = [(key.removeprefix(f"{layer} "), under_map(small, found[key], _TILE)) for key in own]
            words = f"{in_words(layer)}, {len(own)} heads over {name}; each in colours of its own, least to most"
            return tiles(shown, words)
        else:
            values, words = _chosen(found, layer, head), f"{in_words(layer)}, {_of_heads(head)} over {name}"
        low, high = float(values.min()), float(values.max())
        scale = colour_bar("turbo", f"{low:.2g}", f"{high:.2g}", "attention a patch")
        return figure(under_map(picture, values), words, scale)

    def falls(self, network: Classifier, tell: Callable[[float], object]) -> str:
        """HTML of what hiding each cell alone changes for the likeliest class of the whole picture."""
        sample = self.sample  # another may be chosen meanwhile
        assert sample is not None
        seen = int(self.wholes[self.chosen].argmax())
        values = network.occlusion_map(sample, self.side, self.fill, seen, tell)
        picture, most = under_falls(sample.picture, values)
        name = network.predictor.classes[seen]
        scale = colour_bar("RdBu_r", f"+{100 * most:.2g} points", f"-{100 * most:.2g} points", "change when hidden")
        words = f"How the probability of {name} changes when a cell alone is hidden ({by(values.shape)} cells)"
        return figure(picture, words, scale)


def layers(found: dict[str, Tensor]) -> list[tuple[str, str]]:
    """What a visitor may choose of maps: words and the layer's name."""
    own = [key.removesuffix(f" {MEAN}") for key in found if key.endswith(f" {MEAN}")]
    return [("all layers (rollout)", ROLLOUT), *((in_words(key), key) for key in own)]


def in_words(layer: str) -> str:
    """``block 3`` as ``layer 3``."""
    return "attention pooling" if layer == "pooling" else layer.replace("block", "layer")


def heads(found: dict[str, Tensor], layer: str) -> list[tuple[str, str]]:
    """What a visitor may choose of a layer's heads; of the rollout their mean alone."""
    mean = ("mean of heads", MEAN)
    if layer == ROLLOUT:
        return [mean]
    own = [key.removeprefix(f"{layer} ") for key in found if key.startswith(f"{layer} head ")]
    return [mean, ("all heads", ALL), *((key, key) for key in own)]


def _chosen(found: dict[str, Tensor], layer: str, head: str) -> Tensor:
    if f"{layer} {head}" not in found:
        there = [name for _, name in layers(found)]
        raise DataError(f"there is no map {layer!r}, {head!r}: choose a layer ({few(there, 3)}) and one of its heads")
    return found[f"{layer} {head}"]


def _of_heads(head: str) -> str:
    return "mean of the heads" if head == MEAN else head


def _segmented(network: Segmentation, file: Path, name: str) -> str:
    """HTML of a picture under its classes, with their names and how much of it each has."""
    seen = network.read(file, name)
    shown = reduced(network.overlaid(seen).permute(2, 0, 1), _WIDEST).permute(1, 2, 0)
    return figure(shown, f"classes over {name}", legend(network.shares(seen)))
