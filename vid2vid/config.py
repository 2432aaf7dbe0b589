"""vid2vid's configuration: dataclasses are the only place of defaults. Importing this loads no torch.

Letters as in the paper: L past frames (`past_frames`), K frames seen by D_V (`video_discriminator_frames`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from trainer.config.fields import PLACE, OnBadFile, RunConfig, StageConfig, only_with

DINO = "vit_small_patch14_dinov2"  # timm's name of the backbone of loss_perceptual=dino where none is chosen
_SEGMENTS = only_with("image_discriminator", "segmenting")
PHASES = ("g", "d_image", "d_video", "d_region")


class SourceKind(Enum):
    labels = "labels"  # class ids, one-hot, with an instance-edge channel on request
    image = "image"  # any picture as condition: edges, sketches, RGB label colours, or what data.sources draw
    both = "both"  # labels, then what data.sources draw


class Norm(Enum):
    instance = "instance"  # affine: what the originals' batch norm over one frame computes
    instance_plain = "instance_plain"  # not affine
    none = "none"


class Upsample(Enum):
    transposed = "transposed"  # transposed convolutions, as the released code: leave a pattern of period 2
    nearest = "nearest"  # pixels repeated, then a 3x3 convolution (Odena et al. 2016)


class Downsample(Enum):
    strided = "strided"  # convolutions of stride 2, as the released code
    antialiased = "antialiased"  # blurred before the stride (Zhang 2019)


class Block(Enum):
    plain = "plain"  # 3x3 convolutions, as the released code
    grouped = "grouped"  # 3x3 ones within groups of channels, each followed by 1x1 over all (Xie et al. 2017)
    depthwise = "depthwise"  # the same with every channel a group of its own (Chollet 2017)


class ForegroundKind(Enum):
    off = "off"
    override = "override"  # the released code: inside the mask the foreground network's image, no warp
    paper = "paper"  # eq. 9


class FirstFrame(Enum):
    model = "model"  # the network's own path without previous frames
    real = "real"  # the video's own first frames
    image = "image"  # a picture of the user's; in training and evaluation another frame of the same sequence
    zeros = "zeros"  # mid-grey


class ImageDiscriminator(Enum):
    patch = "patch"  # PatchGANs on labels and frame, as in the paper
    segmenting = "segmenting"  # a U-Net: each pixel of the frame is of one of the label classes, or generated (OASIS)


class Gan(Enum):
    lsgan = "lsgan"
    hinge = "hinge"
    non_saturating = "non_saturating"
    relativistic = "relativistic"  # each patch against the real one with the same labels; wants penalties (R3GAN)


class PerceptualKind(Enum):
    vgg = "vgg"  # VGG-19, as the released code
    dino = "dino"  # any backbone of timm or a classifier of this project; DINOv2's small ViT where none is chosen
    none = "none"


class Augmentation(Enum):
    colour = "colour"  # brightness, saturation, contrast
    shift = "shift"
    cutout = "cutout"


class Region(Enum):
    face = "face"  # of the largest person, by its landmarks
    hands = "hands"
    labels = "labels"  # the largest instance of each of `region_labels`


class VideoWindows(Enum):
    random = "random"  # where D_V's windows begin is drawn for every batch, so pairs across segments are judged too
    aligned = "aligned"  # the released code: windows end with a segment


class VideoInput(Enum):
    frames = "frames"  # the frames alone
    frames_and_flow = "frames_and_flow"  # with the reference flow between them, the same for real and generated (eq. 7)
    flow = "flow"  # with flow of their own: the reference flow beside real frames, the generator's beside its own


class StylePooling(Enum):
    segment = "segment"  # an instance has one vector for all frames of a segment, as it has one for a whole video later
    frame = "frame"  # one for each frame, as in the paper: for data whose instance ids are new in every frame


class EvaluatedStyle(Enum):
    own = "own"  # what E makes of the clips' real frames
    mean = "mean"  # the mean of each class
    sample = "sample"  # drawn from the mixtures of styles.json


class StyleTracks(Enum):
    auto = "auto"  # as the first frames of the source tell
    ids = "ids"  # an instance is what has its id
    overlap = "overlap"  # an instance is what covers its place in the frame before


class DataKind(Enum):
    """Whose clips; they are opened by ``vid2vid.data``."""

    street = "street"
    folders = "folders"
    cityscapes = "cityscapes"
    video = "video"

    @property
    def built_in(self) -> bool:
        """Whether it needs no files: it is rendered."""
        return self is DataKind.street


class CropKind(Enum):
    none = "none"  # the middle of the frame; in training anywhere in it
    face = "face"  # the square around the face of data.sources, one for a sequence, or a clip that leaves it


class FaceBackground(Enum):
    none = "none"
    edges = "edges"  # Canny edges of the frame outside the head; of generate.py's background=PATH, or where it has none


class PosePeople(Enum):
    all = "all"
    largest = "largest"  # of each frame


class LabelFormat(Enum):
    ids = "ids"
    rgb = "rgb"


class LabelExif(Enum):
    auto = "auto"
    upright = "upright"  # drawn on the turned picture
    stored = "stored"  # drawn on the pixels as stored, and turned with the picture


class FlowMethod(Enum):
    exact = "exact"  # known by construction (street)
    dis = "dis"
    farneback = "farneback"
    raft = "raft"
    precomputed = "precomputed"
    none = "none"


@dataclass
class ModelConfig:
    """The networks and their losses; each line's comment is its help."""

    source: SourceKind = SourceKind.labels
    num_labels: int = 35
    label_ids: list[int] | None = None  # only these ids get a channel (in this order); None: 0..num_labels-1
    instance_edges: bool = True
    source_channels: int = 3  # of pictures in data.labels_dir, for source=image without data.sources
    past_frames: int = 2
    ngf: int = 32
    downsamplings: int = 3
    blocks: int = 9
    local_blocks: int = 3
    scales: int = 1
    norm: Norm = Norm.instance
    upsample: Upsample = Upsample.transposed  # of the generator's trunks
    downsample: Downsample = Downsample.strided  # of the generator's encoders
    block: Block = Block.plain  # the generator's residual blocks
    group_width: int = 16  # channels of a group, for block=grouped
    zero_init: bool = False  # residual blocks begin as the identity
    flow: bool = True
    flow_multiplier: float = 20.0
    flow_init: float = 1.0  # initial weights of the flow head are multiplied by this
    mask_bias: float = 0.0  # initial bias of the mask head (before the sigmoid)
    foreground: ForegroundKind = ForegroundKind.off
    foreground_labels: list[int] = field(default_factory=lambda: list(range(24, 34)))
    first_frame: FirstFrame = FirstFrame.model
    backprop_frames: int = 1  # frames through which gradients flow back in time; 1: history is detached
    feedback_noise: float = 0.0  # standard deviation of the noise on fed-back frames that networks see in training
    checkpointing: bool = False  # recompute activations of each frame in the backward pass
    style_channels: int = 0  # of the feature encoder E, which lets every instance have a look of its own: 3; 0: none
    style_pooling: StylePooling = StylePooling.segment
    nef: int = 16  # width of E
    style_downsamplings: int = 4  # of E
    ndf: int = 64
    discriminator_scales: int = 2
    discriminator_layers: int = 3
    image_discriminator: Any = True  # patch, segmenting; auto: segmenting for label maps, else patch; false: none
    segmenting_feature_matching: bool = field(default=True, metadata=_SEGMENTS)  # segmenting: lambda_feature, too
    label_mix: float = field(default=10.0, metadata=_SEGMENTS)  # segmenting: agreeing on mixed frames (LabelMix)
    video_discriminator: bool = True
    video_discriminator_frames: int = 3  # K: frames of a window
    temporal_scales: int = 2  # spacings of a window's frames, 1, K, K^2...: with K=3 windows span 3, 7, 19 frames
    video_windows: VideoWindows = VideoWindows.random
    video_discriminator_input: VideoInput = VideoInput.frames_and_flow  # what D_V sees of a window
    gan: Gan = Gan.lsgan  # of all discriminators but image_discriminator=segmenting, which has a loss of its own
    r1_gamma: float = 0.0  # weight of the discriminators' squared gradient on real input; 0: none
    r2_gamma: float = 0.0  # the same on generated input
    segmenting_gamma: float | None = field(default=None, metadata=_SEGMENTS)  # both, of segmenting; null: r1_, r2_gamma
    gamma_ramp: list[float] | None = None  # [from, to, over]: factor of both, half a cosine over that share of the run
    penalty_every: int = 13  # one segment in so many is penalised, drawn for each discriminator, and counts as many
    regions: list[Region] = field(default_factory=list)  # each with a discriminator: face, hands, labels
    region_labels: list[int] = field(default_factory=list)  # for regions=[labels]: these ids
    diff_augment: list[Augmentation] = field(default_factory=list)  # colour, shift, cutout: for small footage
    lambda_gan: float = 1.0
    lambda_gan_video: float = 1.0
    lambda_feature: float = 10.0
    lambda_feature_video: float = 10.0
    lambda_region: float = 2.0  # factor of lambda_gan and lambda_feature for regions: the released code's
    lambda_perceptual: float = 10.0  # of loss_perceptual; needs perceptual_weights
    lambda_flow: float = 10.0
    lambda_flow_warp: float = 10.0
    lambda_output_warp: float = 10.0
    lambda_palindrome: float = 10.0  # frames of the way back against those of the way forth (stages' palindrome)
    lambda_mask: float = 0.0  # prefer warping where the reference flow is reliable
    lambda_l1: float | None = None  # None: 10 in place of a perceptual loss that has no weights, else 0
    loss_perceptual: PerceptualKind = PerceptualKind.vgg  # whose features are compared
    perceptual_weights: str | None = None  # file (vgg: or "torchvision", downloaded; dino: or folder, run); None: L1
    perceptual_backbone: str | None = None  # timm's name, for dino; None: as the folder says, else DINOv2's small ViT
    perceptual_layers: list[int] | None = None  # for dino: feature maps compared, by number; None: four, evenly spaced
    teacher: str | None = field(default=None, metadata=PLACE)  # a run, from whose generator this one learns
    lambda_teacher: float = 10.0  # of the teacher's frames; these four need model.teacher
    lambda_teacher_flow: float = 1.0  # where the teacher warps
    lambda_teacher_mask: float = 1.0
    lambda_teacher_features: float = 1.0  # what the heads read, behind a 1x1 convolution of training alone
    weights: str | None = None  # start from these weights (a run, or safetensors); scales and classes may be more here

    def __post_init__(self) -> None:
        if self.image_discriminator == "auto":  # told in the run's configuration as what it comes to
            self.image_discriminator = True if self.source is SourceKind.image else ImageDiscriminator.segmenting.name
        if self.image_discriminator in ("patch", ImageDiscriminator.patch):
            self.image_discriminator = True  # one word for it, so that runs of either go on by the other


@dataclass
class DataConfig:
    kind: DataKind = DataKind.street
    root: str | None = None
    val_root: str | None = None  # None: the last `val_share` of the sequences of root
    val_share: float = 0.1
    labels_dir: str = "labels"
    images_dir: str = "images"
    instances_dir: str | None = None
    sources: list[str] = field(default_factory=list)  # pictures side by side as condition, KIND:FOLDER each, or edges
    frame_size: list[int] | None = None  # [height, width] that landmarks are of, where no picture is beside them
    crop: CropKind = CropKind.none  # what is shown of a frame: face frames that of data.sources' face:FOLDER
    face_distance: bool = True  # with 14 channels of the distance to each curve beside the map of curves
    face_background: FaceBackground = FaceBackground.none  # what stands outside the head in the map of curves
    face_gap: int = 5  # frames in a row without a face that are bridged; in longer gaps a sequence ends
    labels: LabelFormat = LabelFormat.ids
    label_format: str = "auto"  # ids, red_channel, or colors:FILE, colors:cityscapes, colors:camvid, colors:voc
    label_map: Any = None  # ids changed when read: 255:1, [11:21,26:24], *:255 for all others, or a file of pairs
    ignore_label: Any = 255  # this id belongs to no class; several: [255,0]; null: none
    label_suffix: str | None = None  # end of label names without extension, such as _mask; None: the known data sets'
    image_suffix: str | None = None  # end of picture names without extension
    label_exif: LabelExif = LabelExif.auto  # beside pictures turned by EXIF: how labels lie; auto: as the sizes tell
    range: Any = "auto"  # values of pictures of over 8 bits (depth, infrared) that become 0 and 255: [lo,hi]
    source_range: Any = None  # as range, for source pictures alone; None: as range
    workers: int = 2
    scale: list[float] = field(default_factory=lambda: [1.0, 1.0])  # random size relative to covering the crop
    flip: float = 0.5  # probability
    frame_step: int = 1  # largest distance between consecutive frames of a clip, drawn per clip
    on_bad_file: OnBadFile = OnBadFile["raise"]
    flow: FlowMethod = FlowMethod.dis
    flow_weights: str | None = None  # RAFT: a local file, or "torchvision" to download
    flow_dir: str | None = None  # precomputed: folder beside images_dir with one file per frame
    flow_cache: str | None = ".cache/flow"  # None: computed anew each time
    fps: float | None = None  # data=video: resample to this constant rate by time stamps; None: the file's own frames
    cut_threshold: float | None = 0.15  # data=video: share of a frame that is new at a cut, beyond the usual; None: off
    video_cache: str | None = ".cache/video"  # what is known of video files after decoding them once; None: in memory
    edge_low: int = 60  # Canny thresholds for data=video
    edge_high: int = 160
    pose_people: PosePeople = PosePeople.all  # who of data.sources' pose:FOLDER is drawn
    pose_drop: float = 0.05  # training: probability that a limb, hand, face or DensePose part is missing from a clip
    clips: int = 64  # street: scenes in the training split
    val_clips: int = 8
    val_frames: int = 24  # length of evaluation clips
    supersample: int = 1  # street: anti-aliasing, NxN rays per pixel
    world_seed: int = 0  # street: another number is another world; runs of any seed share their scenes
    start_frames: int = 600  # street: training clips begin at a random frame before this one; 1: all at the first
    street_houses: bool = False  # street: houses have instance ids of their own, as cars and people have
    street_detail: bool = False  # street: also poles, traffic signs and terrain (ids 17, 20, 22)


@dataclass
class Vid2VidStage(StageConfig):
    frames: int = 12
    segment_frames: int = 3  # frames generated between two updates
    scales: int | None = None  # generator scales in use; None: all
    discriminator_scales: int | None = None  # image and video discriminator scales in use, coarsest first
    backprop_frames: int | None = None  # as model.backprop_frames, in this stage; None: that
    palindrome: bool = False  # the second half of each clip is the first, played backwards: its frames must agree


@dataclass
class CurriculumConfig:
    stages: dict[str, Vid2VidStage] = field(default_factory=dict)  # by name; none: one stage of defaults


@dataclass
class Vid2VidConfig(RunConfig):
    task: str = "vid2vid"
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    curriculum: CurriculumConfig = field(default_factory=CurriculumConfig)


def wants_instances(model: ModelConfig) -> bool:
    """Whether the instance ids of label maps are of use: as edges, or for a vector of each instance."""
    return model.instance_edges or model.style_channels > 0


def image_discriminator(model: ModelConfig) -> ImageDiscriminator | None:
    """Which D_I a model has; None: none."""
    found = model.image_discriminator
    if isinstance(found, bool):
        return ImageDiscriminator.patch if found else None
    return ImageDiscriminator(found)


def gammas(model: ModelConfig, phase: str) -> dict[str, float]:
    """Weights of R1 and R2 for the discriminators that ``phase`` (d_image, d_video, d_region) trains, but for zeros."""
    segments = phase == "d_image" and model.image_discriminator == ImageDiscriminator.segmenting.name
    own = model.segmenting_gamma if segments else None
    weights = {"r1": model.r1_gamma, "r2": model.r2_gamma} if own is None else {"r1": own, "r2": own}
    return {name: gamma for name, gamma in weights.items() if gamma > 0}


def penalised(model: ModelConfig) -> bool:
    """Whether any discriminator has R1 or R2."""
    return any(gammas(model, phase) for phase in ("d_image", "d_video", "d_region"))
