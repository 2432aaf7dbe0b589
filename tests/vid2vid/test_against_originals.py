"""Our networks and losses against what the originals compute (../shared/fixtures/README.md).

The originals' frames are free-running on random weights: each frame multiplies the last one's rounding error by about
ten, so on another processor even the same operations in the same order part after a few frames. Every frame is
therefore compared once given the fixture's own history, to 1e-4; and free-running, to 1e-4 or to what rounding does to
the fixture itself (its distance from a computation in double precision), whichever is larger.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.helpers import paths
from vid2vid.config import ForegroundKind, ModelConfig, Norm
from vid2vid.losses import terms as losses
from vid2vid.model import Generator, MultiscaleDiscriminator, VideoDiscriminators
from vid2vid.model.windows import temporal_windows
from vid2vid.weights.originals import from_originals, infer_model, to_originals

FIXTURES = paths.FIXTURES / "vid2vid"
SHARED = paths.SHARED / "fixtures" / "vid2vid"
MODELS = {
    "one_scale": ModelConfig(ngf=4, blocks=3),
    "one_scale_foreground": ModelConfig(ngf=4, blocks=3, foreground=ForegroundKind.override),
    "three_scales_foreground": ModelConfig(
        ngf=8, blocks=2, local_blocks=1, scales=3, foreground=ForegroundKind.override
    ),
    "losses": ModelConfig(ngf=4, blocks=3, norm=Norm.instance_plain, ndf=4, temporal_scales=2),
}
FIELDS = {"frames": 1e-4, "hallucination": 1e-4, "flow": 1e-3, "mask": 1e-4}
CLASSES, PAST = 12, 2


class Fixture:
    def __init__(self, name):
        path = next((p for folder in (FIXTURES, SHARED) if (p := folder / f"{name}.npz").exists()), None)
        if path is None:
            pytest.skip(f"{name}.npz is neither in tests/fixtures nor in ../shared/fixtures")
        with np.load(path, allow_pickle=False) as arrays:
            self.arrays = {key: torch.from_numpy(arrays[key]) for key in arrays.files}
        self.model = MODELS[name]
        self.states = {}
        for key, value in self.arrays.items():
            network, _, rest = key.partition("/")
            if network[0] in "GD":
                self.states.setdefault(network, {})[rest] = value
        self.weights = from_originals(self.states)
        labels = F.one_hot(self["in/labels"].long(), CLASSES).permute(0, 3, 1, 2).float()
        self.source = torch.cat([labels, edges(self["in/instances"])], dim=1)[None]
        self.images = self["in/images"][None]
        self.foreground = None
        if self.model.foreground is not ForegroundKind.off:
            self.foreground = self.source[:, PAST:, [3, 5]].sum(dim=2, keepdim=True).clamp(0, 1)

    def __getitem__(self, key):
        return self.arrays[key]

    def load(self, network, prefix):
        picked = {k.removeprefix(prefix): v for k, v in self.weights.items() if k.startswith(prefix)}
        network.load_state_dict(picked)
        return network.requires_grad_(False)

    def generator(self):
        return self.load(Generator(self.model, CLASSES + 1), "generator.")


def edges(instances):
    """Four-neighbour boundaries, both sides marked, written apart from the project's own."""
    ids = F.pad(instances[:, None].float(), (1, 1, 1, 1), mode="replicate")
    middle = ids[..., 1:-1, 1:-1]
    sides = (ids[..., 1:-1, 2:], ids[..., 1:-1, :-2], ids[..., 2:, 1:-1], ids[..., :-2, 1:-1])
    return torch.stack([side != middle for side in sides]).any(dim=0).float()


def distance(out, fixture):
    """Largest difference of each field for each frame."""
    return {key: (getattr(out, key)[0] - fixture[f"out/{key}"]).abs().amax(dim=(1, 2, 3)).tolist() for key in FIELDS}


@pytest.mark.parametrize("name", ["one_scale", "one_scale_foreground", "losses"])
def test_every_frame_given_the_fixtures_history(name):
    fixture = Fixture(name)
    generator = fixture.generator()
    history = torch.cat([fixture.images[:, :PAST], fixture["out/frames"][None]], dim=1)
    for t in range(fixture["out/frames"].shape[0]):
        region = None if fixture.foreground is None else fixture.foreground[:, t : t + 1]
        out = generator(fixture.source[:, t : t + PAST + 1], [history[:, t : t + PAST]], region)
        for key, tolerance in FIELDS.items():
            error = (getattr(out, key)[0, 0] - fixture[f"out/{key}"][t]).abs().max().item()
            assert error <= tolerance, (t, key)


@pytest.mark.parametrize("name", list(MODELS))
@pytest.mark.parametrize("checkpointing", [False, True])
def test_free_running(name, checkpointing):
    fixture = Fixture(name)
    generator = fixture.generator()
    generator.checkpointing = checkpointing
    past = fixture.images[:, :PAST]
    out = generator(fixture.source, generator.past_from_images(past), fixture.foreground)
    region = None if fixture.foreground is None else fixture.foreground.double()
    generator.double()
    exact = generator(fixture.source.double(), generator.past_from_images(past.double()), region)
    errors, rounding = distance(out, fixture), distance(exact, fixture)
    for key, tolerance in FIELDS.items():
        assert errors[key][0] <= tolerance
        for error, inherent in zip(errors[key], rounding[key], strict=True):
            assert error <= max(tolerance, 4 * inherent), key


def test_streaming_gives_the_same_bits_as_one_call():
    fixture = Fixture("one_scale_foreground")
    generator = fixture.generator()
    past = generator.past_from_images(fixture.images[:, :PAST])
    whole = generator(fixture.source, past, fixture.foreground)
    assert fixture.foreground is not None
    for t in range(4):
        one = generator(fixture.source[:, t : t + PAST + 1], past, fixture.foreground[:, t : t + 1])
        past = one.past
        torch.testing.assert_close(one.frames[:, 0], whole.frames[:, t], rtol=0, atol=0)


@pytest.mark.parametrize("name", list(MODELS))
def test_names_there_and_back(name):
    fixture = Fixture(name)
    back = to_originals(fixture.weights)
    assert back.keys() == fixture.states.keys()
    for network, state in fixture.states.items():
        assert back[network].keys() == state.keys()
        assert all(torch.equal(back[network][key], state[key]) for key in state)
    seen = infer_model(fixture.weights)
    model = fixture.model
    assert seen["ngf"] == model.ngf and seen["blocks"] == model.blocks and seen["scales"] == model.scales
    assert seen["downsamplings"] == model.downsamplings and seen["past_frames"] == PAST
    assert seen["foreground"] == model.foreground.name and seen["norm"] == model.norm.name
    assert seen["source_channels"] == CLASSES + 1


def test_discriminator_features():
    fixture = Fixture("losses")
    network = fixture.load(MultiscaleDiscriminator(CLASSES + 4, 4, 2, 3, Norm.instance_plain), "d_image.")
    features = network(torch.cat([fixture.source[0, PAST:], fixture.images[0, PAST:]], dim=1))
    assert [len(scale) for scale in features] == [5, 5]
    for i, scale in enumerate(features):
        for j, layer in enumerate(scale):
            torch.testing.assert_close(layer, fixture[f"disc/{i}/{j}"], rtol=0, atol=1e-4)


def agree(value, fixture, name):
    assert float(value) == pytest.approx(float(fixture[f"loss/{name}"]), rel=1e-4), name


def test_image_losses():
    fixture = Fixture("losses")
    network = fixture.load(MultiscaleDiscriminator(CLASSES + 4, 4, 2, 3, Norm.instance_plain), "d_image.")
    labels = fixture.source[0, PAST:]
    made = [fixture["out/frames"], fixture["out/hallucination"]]
    real = network(torch.cat([labels, fixture.images[0, PAST:]], dim=1))
    fakes = [network(torch.cat([labels, x], dim=1)) for x in made]
    agree(sum(losses.gan_generator(fake) for fake in fakes), fixture, "G_GAN")
    agree(10 * sum(losses.feature_matching(fake, real) for fake in fakes), fixture, "G_GAN_Feat")
    halves = [losses.gan_discriminator(real, fake) for fake in fakes]
    agree(sum(half[0] for half in halves), fixture, "D_real")
    agree(sum(half[1] for half in halves), fixture, "D_fake")


def test_flow_losses():
    fixture = Fixture("losses")
    real, frames = fixture.images[0], fixture["out/frames"]
    flow, reference, confidence = fixture["out/flow"], fixture["in/flow_reference"], fixture["in/confidence"]
    agree(10 * losses.flow(flow, reference, confidence), fixture, "F_Flow")
    agree(10 * losses.flow_warp(flow, real[PAST - 1 : -1], real[PAST:], confidence), fixture, "F_Warp")
    previous = torch.cat([real[PAST - 1 : PAST], frames[:-1]])
    agree(10 * losses.output_warp(frames, previous, reference, confidence), fixture, "G_Warp")


@pytest.mark.parametrize("scale", [0, 1])
def test_temporal_windows_and_losses(scale):
    fixture = Fixture("losses")
    real, fake = fixture.images[:, PAST:], fixture["out/frames"][None]
    reference = fixture["in/flow_reference"][None]
    frames = real.shape[1]
    asked = []

    def long_flow(current, previous):
        asked.append((current, previous))
        return fixture["temporal1/flow"][:, len(asked) - 1]

    windows = temporal_windows(real, fake, reference, frames, 3, scale, long_flow)
    assert windows is not None
    for key in ("real", "fake", "flow"):
        torch.testing.assert_close(getattr(windows, key), fixture[f"temporal{scale}/{key}"], rtol=0, atol=0)
    assert asked == ([] if scale == 0 else [(4, 1), (7, 4)])

    networks = fixture.load(VideoDiscriminators(3, 4, 2, 3, Norm.instance_plain, 2), "d_video.")
    on_real, on_fake = networks(windows.real_input(), scale), networks(windows.fake_input(), scale)
    agree(losses.gan_generator(on_fake), fixture, f"G_T_GAN{scale}")
    agree(10 * losses.feature_matching(on_fake, on_real), fixture, f"G_T_GAN_Feat{scale}")
    d_real, d_fake = losses.gan_discriminator(on_real, on_fake)
    agree(d_real, fixture, f"D_T_real{scale}")
    agree(d_fake, fixture, f"D_T_fake{scale}")
