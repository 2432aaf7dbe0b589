"""The perceptual loss against torchvision's VGG-19 with the same random weights, and its files."""

import pytest
import torch
import torch.nn.functional as F

from tests.helpers.made_task import configured, make_trainer, one_batch
from trainer.errors import CheckpointError
from vid2vid import segments
from vid2vid.config import ModelConfig, Vid2VidConfig
from vid2vid.forward import generated_images
from vid2vid.losses.perceptual import Perceptual, build_perceptual
from vid2vid.task import Vid2VidTask


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file such as torchvision's, its convolutions only, random."""
    torch.manual_seed(0)
    sizes = {0: (3, 64), 2: (64, 64), 5: (64, 128), 7: (128, 128), 10: (128, 256), 12: (256, 256), 14: (256, 256)}
    sizes |= {16: (256, 256), 19: (256, 512), 21: (512, 512), 23: (512, 512), 25: (512, 512), 28: (512, 512)}
    state = {"classifier.0.bias": torch.zeros(4096)}
    for index, (inputs, outputs) in sizes.items():
        state[f"features.{index}.weight"] = torch.randn(outputs, inputs, 3, 3) / (3 * inputs**0.5)
        state[f"features.{index}.bias"] = torch.randn(outputs) * 0.1
    path = tmp_path_factory.mktemp("vgg") / "vgg19.pth"
    torch.save(state, path)
    return path, state


def test_features_and_distance_as_torchvision_computes_them(weights):
    from torchvision.models import vgg19

    path, state = weights
    network = build_perceptual(str(path))
    assert network is not None and not any(p.requires_grad for p in network.parameters())
    with torch.device("meta"):
        features = vgg19(weights=None).features[:30]
    theirs = features.to_empty(device="cpu")
    theirs.load_state_dict({key.removeprefix("features."): x for key, x in state.items() if "features" in key})
    a, b = torch.rand(1, 3, 32, 48) * 2 - 1, torch.rand(1, 3, 32, 48) * 2 - 1
    expected, x, y = 0.0, a, b
    with torch.no_grad():
        for index, layer in enumerate(theirs):
            x, y = layer(x), layer(y)
            weight = {1: 1 / 32, 6: 1 / 16, 11: 1 / 8, 20: 1 / 4, 29: 1.0}.get(index)
            if weight is not None:
                expected += weight * float(F.l1_loss(x, y))
                x, y = x.clone(), y.clone()
        value = network.distance(a, network.features(b))
    assert float(value) == pytest.approx(expected, rel=1e-4)


def test_gradients_reach_the_generated_images_only(weights):
    network = build_perceptual(str(weights[0]))
    assert network is not None
    fake, real = (torch.rand(1, 3, 32, 32, requires_grad=True) for _ in range(2))
    network.distance(fake, network.features(real)).backward()
    assert fake.grad is not None and fake.grad.abs().sum() > 0 and real.grad is None
    assert all(p.grad is None for p in network.parameters())


def test_wide_images_are_halved():
    network = Perceptual()
    wide = torch.rand(1, 3, 32, 2048)
    torch.testing.assert_close(network(wide)[0], network(F.avg_pool2d(wide, 2))[0])
    assert network(wide)[0].shape[-1] == 1024
    assert network(torch.rand(1, 3, 16, 1024))[0].shape[-1] == 1024


def test_safetensors_files_load(weights, tmp_path):
    from safetensors.torch import save_file

    save_file(weights[1], tmp_path / "vgg.safetensors")
    network = build_perceptual(str(tmp_path / "vgg.safetensors"))
    assert network is not None
    torch.testing.assert_close(network.state_dict()["layers.28.bias"], weights[1]["features.28.bias"])


def test_without_weights_it_is_off_and_the_log_says_so() -> None:
    assert build_perceptual(None) is None
    config = Vid2VidConfig(model=ModelConfig(ngf=4, ndf=4, blocks=2, downsamplings=2))
    (note,) = Vid2VidTask(config).notes()
    assert "perceptual loss off" in note and "model.perceptual_weights" in note
    config.model.lambda_perceptual = 0.0
    assert Vid2VidTask(config).notes() == []


def generator_losses(tmp_path, *words: str) -> tuple[dict[str, float], float]:
    """Of the first segment, and its mean absolute difference over composed and raw frames."""
    trainer, task = make_trainer(configured("trainer.max_steps=1", *words), tmp_path)
    batch, ctx = one_batch(trainer)
    segment = next(task.segments(batch, ctx))
    values = {name: float(value.detach()) for name, value in task.losses("g", segment, ctx).items()}
    out = task.passes.generate(segment, ctx)
    return values, sum(float((x.detach() - segments.real(segment)).abs().mean()) for x in generated_images(out))


def test_without_weights_l1_takes_its_place(tmp_path):
    values, difference = generator_losses(tmp_path)
    assert values["l1"] == pytest.approx(10 * difference, rel=1e-5) and values["l1"] > 1
    assert "perceptual" not in values


@pytest.mark.parametrize(
    ("words", "weight"), [(["model.lambda_l1=3"], 3), (["model.lambda_l1=3", "model.lambda_perceptual=0"], 3)]
)
def test_a_weight_of_the_user_stays(tmp_path, words, weight):
    values, difference = generator_losses(tmp_path, *words)
    assert values["l1"] == pytest.approx(weight * difference, rel=1e-5)


def test_no_l1_where_none_is_wanted_or_the_network_is_there(tmp_path, weights):
    assert "l1" not in generator_losses(tmp_path / "a", "model.lambda_l1=0")[0]
    assert "l1" not in generator_losses(tmp_path / "b", "model.lambda_perceptual=0")[0]
    torch.save(weights[1], tmp_path / "vgg.pth")
    with_network, _ = generator_losses(tmp_path / "c", f"model.perceptual_weights={tmp_path / 'vgg.pth'}")
    assert "l1" not in with_network and with_network["perceptual"] > 0
    both, difference = generator_losses(
        tmp_path / "d", f"model.perceptual_weights={tmp_path / 'vgg.pth'}", "model.lambda_l1=2"
    )
    assert both["l1"] == pytest.approx(2 * difference, rel=1e-5)


TOLD = [
    ([], "L1 with weight 10 takes its place"),
    (["model.lambda_l1=3"], "L1 has the weight model.lambda_l1=3"),
    (["model.lambda_l1=0"], "model.lambda_l1=0, so that only the discriminators compare pictures"),
]


@pytest.mark.parametrize(("words", "told"), TOLD)
def test_the_log_and_the_dry_run_say_so(tmp_path, words, told):
    trainer, _ = make_trainer(configured("trainer.max_steps=1", *words), tmp_path)
    assert "perceptual loss off" in trainer.dry_run() and told in trainer.dry_run()
    one_batch(trainer)
    assert told in (tmp_path / "train.log").read_text()


def test_files_that_do_not_fit(tmp_path, weights):
    with pytest.raises(CheckpointError, match=r"missing\.pth: no such file"):
        build_perceptual(str(tmp_path / "missing.pth"))
    (tmp_path / "damaged.pth").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"damaged\.pth"):
        build_perceptual(str(tmp_path / "damaged.pth"))
    torch.save({"features.0.weight": torch.zeros(64, 1, 3, 3)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"features\.0\.weight \(64, 1, 3, 3\), expected \(64, 3, 3, 3\)"):
        build_perceptual(str(tmp_path / "other.pth"))


def test_a_failed_download_names_the_remedy(monkeypatch):
    import torchvision.models

    def fail(self, *args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(torchvision.models.VGG19_Weights, "get_state_dict", fail)
    with pytest.raises(CheckpointError, match="download failed"):
        build_perceptual("torchvision")
