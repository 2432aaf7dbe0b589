"""Configuration of a segmentation run: dataclasses are the only place of defaults. Importing this loads no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from trainer.config.fields import OnBadFile, RunConfig, StageConfig
from vit.config import ModelConfig, Pool

PHASES = ("main",)


class Decoder(Enum):
    """How features become scores of classes (SETR, section 3.3)."""

    naive = "naive"  # a linear network of two layers, then bilinear to full resolution
    pup = "pup"  # progressive upsampling: convolutions, each followed by a doubling of the resolution
    mla = "mla"  # multi-level aggregation: features of four blocks, added from the last to the first


class MaskKind(Enum):
    masks = "masks"
    street_masks = "street_masks"


class Layout(Enum):
    """How pictures and masks lie below `data.root`."""

    auto = "auto"  # recognised by its folders
    folders = "folders"  # images/ and masks/, the same names; train/ and val/ in them or above them
    cityscapes = "cityscapes"  # leftImg8bit/ and gtFine/
    ade20k = "ade20k"  # images/training and annotations/training
    voc = "voc"  # JPEGImages/, SegmentationClass/ and ImageSets/Segmentation/


class Mode(Enum):
    whole = "whole"  # the whole picture at once
    slide = "slide"  # windows of the run's resolution, whose scores are averaged where they overlap


@dataclass
class SetrConfig(ModelConfig):
    pool: Pool = Pool.none  # nothing else: every patch is read
    decoder: Decoder = Decoder.pup
    decoder_width: int = 256  # its channels
    auxiliary: list[int] = field(default_factory=list)  # blocks, from 1, that train a decoder of their own as well
    frozen: bool = False  # the ViT keeps its weights, and the decoder alone learns


@dataclass
class MasksConfig:
    kind: MaskKind = MaskKind.masks
    root: str | None = None
    val_root: str | None = None  # None: the data's own split, else `val_share` of the pictures
    val_share: float = 0.1  # which pictures: by their names, so that new ones move no old one
    layout: Layout = Layout.auto
    images: str | None = None  # folder of the pictures; None: images, JPEGImages, ...
    masks: str | None = None  # folder of the masks; None: masks, labels, annotations, SegmentationClass, ...
    mask_suffix: str = ""  # what masks' names have at their end beyond those of their pictures, like _mask
    train_list: str = "train"  # voc: which list in ImageSets/Segmentation trains (trainaug)
    num_classes: int | None = None  # None: as many as the layout, `classes` or `palette` tell
    classes: list[str] = field(default_factory=list)  # names, in order; none: of the layout or the palette
    palette: str | None = None  # names and colours: cityscapes, cityscapes_train_ids, camvid, voc, or a file of them
    label_map: Any = None  # values of masks that become others: 255:1 or [7:0,8:1,*:255], or a file of pairs
    ignore: list[int] = field(default_factory=lambda: [255])  # void: values that neither train nor count
    reduce_zero_label: bool | None = None  # 0 is void, 1 the first class; None: of ade20k alone
    short_side: int | None = None  # pixels that pictures are resized to before all else; None: their own size
    range: list[float] | None = None  # values of pictures of over 8 bits that become 0 and 255; None: of their type
    mean: list[float] | None = None  # on a scale of 0..1; None: of the weights, else 0.5
    std: list[float] | None = None
    workers: int | None = 2  # None: on CUDA all cores but one, shared by the processes of a machine; else 2
    on_bad_file: OnBadFile = OnBadFile["raise"]
    street_samples: int = 20000  # street_masks: scenes in the training split
    street_val_samples: int = 200
    street_detail: bool = False  # street_masks: also poles, traffic signs and terrain
    street_seed: int = 0


@dataclass
class MaskAugment:
    """Of picture and mask alike, but colours."""

    scale: list[float] = field(default_factory=lambda: [0.5, 2.0])  # least and most; then a crop of the resolution
    flip: float = 0.5  # probability
    color_jitter: float = 0.0  # of the picture alone: brightness, contrast and saturation by up to this share
    largest_class: float = 1.0  # a crop of which one class has more than this share is drawn again, ten times at most


@dataclass
class InferenceConfig:
    mode: Mode = Mode.whole
    stride: float = 0.6667  # slide: from window to window, as a share of a window's side


@dataclass
class SegmentationLoss:
    dice: float = 0.0  # weight of the dice loss beside cross-entropy
    auxiliary: float = 0.4  # weight of each auxiliary decoder's loss
    class_weights: dict[str, float] = field(default_factory=dict)  # by class name; others weigh 1


@dataclass
class SegmentationStage(StageConfig):
    batch_size: int = 16


@dataclass
class SegmentationCurriculum:
    stages: dict[str, SegmentationStage] = field(default_factory=dict)  # by name; none: one stage of defaults


@dataclass
class SegmentationConfig(RunConfig):
    task: str = "segmentation"
    resolution: list[int] = field(default_factory=lambda: [512, 512])  # [H, W] of what the network sees in training
    model: SetrConfig = field(default_factory=SetrConfig)
    data: MasksConfig = field(default_factory=MasksConfig)
    augment: MaskAugment = field(default_factory=MaskAugment)
    loss: SegmentationLoss = field(default_factory=SegmentationLoss)
    inference: InferenceConfig = field(default_factory=InferenceConfig)
    curriculum: SegmentationCurriculum = field(default_factory=SegmentationCurriculum)
