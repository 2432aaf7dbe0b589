"""Configuration of a classification run: dataclasses are the only place of defaults. Importing this loads no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from trainer.config.fields import OnBadFile, RemoteConfig, RunConfig, StageConfig
from vit.data.kinds import (
    ClassOrder,
    ClipOrder,
    CropKind,
    DataKind,
    Decode,
    EvalCrop,
    Interpolation,
    Motion,
    ShapesTarget,
    ShortClip,
)

PHASES = ("main",)


class Pool(Enum):
    cls = "cls"  # the class token
    gap = "gap"  # mean of the patch tokens
    cls_gap = "cls_gap"  # both side by side, 2 D numbers (DINOv2's linear classifiers)
    map = "map"  # one learned query attends to all tokens ("multihead attention pooling")
    none = "none"  # no pooling: a feature vector per token; for use as a backbone, not for training a classifier


class PosEmbed(Enum):
    learned = "learned"
    sincos2d = "sincos2d"  # MoCo-v3's and big_vision's table
    sincos2d_mae = "sincos2d_mae"  # MAE's table, which differs
    none = "none"


class DropPathShape(Enum):
    ramp = "ramp"  # from 0 in the first block to the rate in the last
    constant = "constant"  # the rate in every block (DeiT-III)


class QkNorm(Enum):
    none = "none"
    layer = "layer"
    rms = "rms"


class Gelu(Enum):
    exact = "exact"
    tanh = "tanh"  # JAX's default: what Google's checkpoints were trained with


class Init(Enum):
    jax = "jax"
    timm = "timm"


class AttentionKind(Enum):
    auto = "auto"  # by device and precision, as measured (BENCHMARKS.md)
    sdpa = "sdpa"
    explicit = "explicit"


class HeadPolicy(Enum):
    keep = "keep"  # of the head: an error when the classes differ
    reset = "reset"  # a new one


class ChannelAdapt(Enum):
    auto = "auto"  # to 1 channel: sum; else tile
    sum = "sum"
    mean = "mean"
    tile = "tile"
    zero = "zero"  # new channels start at zero


class PosInterp(Enum):
    bicubic = "bicubic"  # timm: anti-aliased, with the kernel of a = -0.5
    bicubic_plain = "bicubic_plain"  # DeiT, MAE, older timm: not anti-aliased, a = -0.75
    bilinear_jax = "bilinear_jax"  # vision_transformer, big_vision: corners aligned


class SpaceTime(Enum):
    """How a network of clips looks through time (ViViT's models 1, 2 and 3)."""

    joint = "joint"  # all tokens of a clip attend to all
    factorised_encoder = "factorised_encoder"  # the network of pictures, then `temporal_depth` blocks through time
    factorised_attention = "factorised_attention"  # in every block within a step, then through time


class Inflation(Enum):
    central = "central"  # the middle frame of a tubelet has the kernels of pictures, the others begin at zero
    mean = "mean"  # every frame has 1 / tubelet of them


class Fit(Enum):
    """What is done with a picture whose sides the patch does not divide."""

    error = "error"
    pad = "pad"
    crop = "crop"
    resize = "resize"


class LossKind(Enum):
    """Losses, and what follows from each for the head and its labels; the formulas are in ``vit.losses``."""

    softmax = "softmax"
    sigmoid = "sigmoid"  # summed over classes (vision_transformer, big_vision)
    bce = "bce"  # mean over classes, targets above 0 count as 1 (DeiT-III)
    focal = "focal"

    @property
    def independent(self) -> bool:
        """Whether every class is a yes-or-no question of its own (sigmoid) rather than one choice (softmax)."""
        return self in (LossKind.sigmoid, LossKind.bce)

    @property
    def several_labels(self) -> bool:
        """Whether a picture may have any number of labels."""
        return self is not LossKind.softmax

    @classmethod
    def for_several_labels(cls) -> str:
        """The names of those that take any number of labels, for messages."""
        *names, last = (kind.name for kind in cls if kind.several_labels)
        return f"{', '.join(names)} or {last}"


class ClassWeights(Enum):
    none = "none"
    balanced = "balanced"  # inverse frequency
    effective = "effective"  # effective number of samples (Cui et al., 2019)


class Distill(Enum):
    none = "none"
    soft = "soft"
    hard = "hard"


@dataclass
class ModelConfig:
    variant: str = "B"  # mu Ti S M B L So400m H g G; with the patch also as Google writes it: B/16
    patch: int = 16  # side of a patch in pixels
    name: str | None = None  # a timm model instead (swin_tiny_patch4_window7_224): nothing above and below is read
    name_options: dict[str, Any] = field(default_factory=dict)  # for timm.create_model (drop_path_rate, ...)
    width: int | None = None  # None: of the variant; likewise the next three
    depth: int | None = None
    mlp: int | None = None
    heads: int | None = None
    num_classes: int | None = None  # None: as many as the data has
    in_channels: int | None = None  # None: as many as the data has
    pool: Pool = Pool.cls
    pool_first: bool = False  # with gap: mean, then the last norm (MAE, timm's fc_norm), instead of norm, then mean
    pos_embed: PosEmbed = PosEmbed.learned
    class_token: bool | None = None  # None: unless pool is gap or map (MAE's fine-tuning has one with gap)
    class_position: bool = True  # the class token (and distillation token) has a position too (not: DeiT-III)
    registers: int = 0
    distilled: bool = False  # DeiT's distillation token with a head of its own
    layer_scale: float | None = None  # initial value; None: off
    drop_path: float = 0.0
    drop_path_shape: DropPathShape = DropPathShape.ramp
    dropout: float = 0.0  # after positions, after attention's projection, after both MLP layers
    attention_dropout: float = 0.0
    patch_dropout: float = 0.0
    qk_norm: QkNorm = QkNorm.none
    qkv_bias: bool = True
    gelu: Gelu = Gelu.exact
    norm_eps: float = 1e-6
    representation: int = 0  # width of a tanh layer before the head; 0: none
    probe_norm: bool = False  # batch norm without scale and shift before the head (MAE's linear probe)
    init: Init = Init.jax
    head_bias: float | None = None  # None: -ln K for sigmoid and bce losses, else 0
    head_std: float | None = None  # of a new head's weights; None: 0.02 with init=timm, else 0
    attention: AttentionKind = AttentionKind.auto
    frames: int = 1  # of a clip that the network looks at (ViViT); 1: pictures
    tubelet: int = 2  # frames of clips in one token; divides them
    space_time: SpaceTime = SpaceTime.factorised_attention
    temporal_depth: int = 4  # factorised_encoder: blocks through time
    inflation: Inflation = Inflation.central  # of weights of pictures to tubelets
    checkpointing: bool = False  # recompute activations of each block in the backward pass
    fit: Fit = Fit.error
    weights: str | None = None  # a file, a run, a checkpoint folder, or timm:NAME
    head: HeadPolicy = HeadPolicy.keep
    last_norm: HeadPolicy = HeadPolicy.keep  # the norm before the head likewise (reset: MAE's fine-tuning)
    pos_interp: PosInterp = PosInterp.bicubic
    channel_adapt: ChannelAdapt = ChannelAdapt.auto
    channel_map: list[int | None] = field(default_factory=list)  # source channel of each new one; null: zero


@dataclass
class DataConfig:
    kind: DataKind = DataKind.shapes
    root: str | None = None
    val_root: str | None = None  # None: the data's own split, else `val_share` of every class
    val_share: float = 0.1  # which pictures: by their names, so that new ones move no old one
    test_root: str | None = None
    class_order: ClassOrder = ClassOrder.natural  # of names: numbers them; ascii for heads of torchvision's ImageFolder
    channels: int | None = None  # read as 1 grey, 3 RGB or 4 RGBA; None: the data's own (RGB for files)
    range: list[float] | None = None  # values of pictures of over 8 bits that become 0 and 255; None: of their type
    mean: list[float] | None = None  # on a scale of 0..1; None: of the weights, else 0.5
    std: list[float] | None = None
    workers: int | None = 2  # None: on CUDA all cores but one, shared by the processes of a machine; else 2
    download: bool = False
    cache: bool = False  # keep decoded, resized pictures on disk
    cache_dir: str = ".cache/images"
    cache_size: int | None = None  # short side in the cache; None: the run's resolution / eval_crop_ratio
    decode: Decode = Decode.cpu  # of training pictures; gpu: JPEGs on the card, for where few cores feed it
    on_bad_file: OnBadFile = OnBadFile["raise"]
    train_samples: int | None = None  # only so many, the same number per class where possible
    train_seed: int = 0  # which ones those are
    repeats: int = 1  # repeated augmentation: each picture so often in a row, differently augmented
    multilabel: bool = False  # csv, hf: several labels per picture
    csv_path: str = "path"  # csv: column of the file names (hf: of the pictures)
    csv_label: Any = "label"  # csv: column of the labels, or several, with a 0 or 1 for each class: [cat,dog,bird]
    csv_folder: str | None = None  # csv: where the files are, seen from the table; images_* for several folders
    csv_suffix: str = ""  # csv: what the table leaves out at the end of file names, like .png
    csv_delimiter: str | None = None  # csv: between the cells, also tab; None: recognised by the heading
    csv_separator: str = "|"  # csv: between the labels of one picture
    csv_split: str | None = "auto"  # csv: column of splits; auto: split, set, is_valid, ... if it holds these alone
    csv_val: str | None = None  # csv: what rows of validation have in that column, like 0 for the first of some folds
    class_map: str | None = None  # a file that maps the model's classes to those of the data (ImageNet-A, -R, ReaL)
    balanced: bool = False  # draw every class equally often
    clip_stride: int | None = 1  # clips: from one frame that is looked at to the next; null: spread over the whole clip
    clip_views: int = 1  # clips: stretches of a clip in evaluation, spread over it, whose answers are averaged
    clip_short: ShortClip = ShortClip.repeat
    clip_order: ClipOrder = ClipOrder.ordered
    clip_list: str | None = None  # clips: a list of those of training (UCF101, Kinetics, SSv2, lines PATH LABEL)
    clip_val_list: str | None = None  # clips: likewise of validation; null: `val_share` of the other
    remote: RemoteConfig = field(default_factory=RemoteConfig)  # of addresses in root, val_root, test_root and tables
    video_cache: str | None = ".cache/video"  # what is known of video files after decoding them once; null: in memory
    shapes_samples: int = 20000  # shapes, moving_shapes: pictures in the training split
    shapes_val_samples: int = 2000
    shapes_target: ShapesTarget = ShapesTarget.shape
    shapes_texture_bias: float = 0.0  # shapes: probability that the texture gives the class away
    shapes_conflict: bool = False  # shapes: in validation the texture is always that of another class
    shapes_texture_contrast: float = 1.0  # shapes: how strongly textures stand out, 0 to 2.8; 2.5: more than shapes do
    shapes_world_seed: int = 0
    motions: list[Motion] = field(default_factory=lambda: [each for each in Motion if not each.turns])  # moving_shapes


@dataclass
class AugmentConfig:
    crop: CropKind = CropKind.inception
    scale: list[float] = field(default_factory=lambda: [0.08, 1.0])  # inception: share of the area
    ratio: list[float] = field(default_factory=lambda: [0.75, 1.3333])
    pad: int = 4
    flip: float = 0.5  # probability
    interpolation: Interpolation = Interpolation.bilinear
    auto: str | None = None  # randaugment-n2-m10 | bv_randaugment-n2-m10 | rand-m9-mstd0.5-inc1 | autoaugment | three
    color_jitter: float = 0.0
    erasing: float = 0.0  # probability
    mixup: float = 0.0  # alpha; 0: off
    mixup_max: bool = False  # lambda = max(lambda, 1 - lambda) (big_vision)
    cutmix: float = 0.0  # alpha; 0: off
    mix_probability: float = 1.0  # of mixing a batch at all
    mix_switch: float = 0.5  # of CutMix where both are on
    eval_crop: EvalCrop = EvalCrop.center
    eval_crop_ratio: float = 0.875
    eval_fill: list[float] = field(default_factory=lambda: [0.5])  # eval_crop=border: on a scale of 0..1
    eval_crop_floor: bool = False  # half a pixel goes down, bicubic by PyTorch (Hugging Face); else to even, by Pillow
    eval_interpolation: Interpolation = Interpolation.bilinear


@dataclass
class LossConfig:
    kind: LossKind = LossKind.softmax
    smoothing: float = 0.0
    gamma: float = 2.0  # focal
    class_weights: ClassWeights = ClassWeights.none
    class_weight_values: dict[str, float] = field(default_factory=dict)  # by class name; others weigh 1


@dataclass
class DistillConfig:
    mode: Distill = Distill.none
    teacher: str | None = None  # all that model.weights takes: a run, a checkpoint, a file, a folder or timm:NAME
    teacher_name: str | None = None  # timm name of a bare weights file's model; None: as it tells, or a plain ViT
    class_map: str | None = None  # a file that maps the teacher's classes to those of the data, as data.class_map
    alpha: float = 0.5  # share of the distillation loss
    temperature: float = 1.0


@dataclass
class VitStage(StageConfig):
    batch_size: int = 128


@dataclass
class CurriculumConfig:
    stages: dict[str, VitStage] = field(default_factory=dict)  # by name; none: one stage of defaults


@dataclass
class VitConfig(RunConfig):
    """All that a classifier's run has."""

    task: str = "vit"
    resolution: list[int] = field(default_factory=lambda: [224, 224])  # [H, W]; on the command line also one number
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    distill: DistillConfig = field(default_factory=DistillConfig)
    curriculum: CurriculumConfig = field(default_factory=CurriculumConfig)

    def frames_of(self, row: StageConfig) -> int:
        """Those that the network looks at, in every stage."""
        return self.model.frames
