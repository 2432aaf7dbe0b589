"""One pass of a discriminator for both networks: the gradients of separate passes, also in half precision."""

import pytest
import torch
from torch import nn

from tests.helpers.small_generator import images
from vid2vid.losses import terms as losses
from vid2vid.model import MultiscaleDiscriminator
from vid2vid.model.sharing import SharedDiscriminator


def test_sharing_gives_the_gradients_of_separate_passes():
    torch.manual_seed(0)
    network = MultiscaleDiscriminator(4, 8, 2, 3)
    maker = nn.Conv2d(3, 3, 3, padding=1)
    labels, x, real = torch.rand(2, 1, 16, 32), torch.rand(2, 3, 16, 32), torch.rand(2, 3, 16, 32)

    def prepare(frames):
        return torch.cat([labels, frames], dim=1)

    def objective(on_real, on_fakes):
        return {
            "gan": torch.stack([losses.gan_generator(f) for f in on_fakes]).sum(),
            "feature": 10 * torch.stack([losses.feature_matching(f, on_real) for f in on_fakes]).sum(),
        }

    def separately():
        fakes = [maker(x), maker(x).tanh()]
        on_real = network(prepare(real))
        terms = objective(on_real, [network(prepare(f)) for f in fakes])
        sum(terms.values()).backward()
        g = [p.grad.clone() for p in maker.parameters()]
        network.zero_grad()
        halves = [losses.gan_discriminator(network(prepare(real)), network(prepare(f.detach()))) for f in fakes]
        (0.5 * sum(a + b for a, b in halves)).backward()
        return terms, g, [p.grad.clone() for p in network.parameters()]

    def together():
        fakes = [maker(x), maker(x).tanh()]
        shared = SharedDiscriminator(network, real, fakes, prepare=prepare)
        terms = shared.generator_losses(objective)
        sum(terms.values()).backward()
        assert all(p.grad is None for p in network.parameters())
        g = [p.grad.clone() for p in maker.parameters()]
        halves = [losses.gan_discriminator(shared.real, f) for f in shared.fakes]
        (0.5 * sum(a + b for a, b in halves)).backward()
        for p, before in zip(maker.parameters(), g, strict=True):
            torch.testing.assert_close(p.grad, before, rtol=0, atol=0)
        return terms, g, [p.grad.clone() for p in network.parameters()]

    results = []
    for run in (separately, together):
        maker.zero_grad()
        network.zero_grad()
        results.append(run())
    (terms, g, d), (terms_shared, g_shared, d_shared) = results
    for name in terms:
        assert float(terms_shared[name].detach()) == pytest.approx(float(terms[name].detach()), rel=1e-5)
    for a, b in zip(g + d, g_shared + d_shared, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def injected(weight, loss_scale, dtype=torch.float16):
    """The gradient in a frame of a loss of some weight on D's features, D computing in a half precision."""
    torch.manual_seed(0)
    network = MultiscaleDiscriminator(3, 8, 1, 2)
    frame = images(1)[0].requires_grad_()
    with torch.autocast("cpu", dtype, enabled=dtype is not torch.float32):
        shared = SharedDiscriminator(network, images(2)[0, :1], [frame])

    def objective(real, fakes):
        return {"gan": weight * losses.gan_generator(fakes[0])}

    (shared.generator_losses(objective, loss_scale)["gan"] * loss_scale).backward()
    return frame.grad / loss_scale  # as the scaler takes it out again


def test_small_gradients_survive_fp16_by_the_trainers_own_scale():
    """At this weight they are below fp16's smallest number where the loss is not scaled."""
    weight = 1e-5
    exact = injected(weight, 1.0, torch.float32)
    assert injected(weight, 1.0).count_nonzero() < 0.5 * exact.numel()
    for scale in (torch.tensor(2.0**16), 2.0**14):
        error = (injected(weight, scale) - exact).norm() / exact.norm()
        assert error < 0.02


def test_an_overflow_in_fp16_reaches_the_scaler():
    """A scale of this file's own would never be lowered; the trainer's is, when it sees infinity."""
    assert not torch.isfinite(injected(1.0, torch.tensor(2.0**26))).all()
    assert torch.isfinite(injected(1.0, torch.tensor(2.0**10))).all()


def test_sharing_without_a_generator_to_train():
    network = MultiscaleDiscriminator(3, 4, 1, 2)
    shared = SharedDiscriminator(network, images(2)[0], [images(2)[0]])
    terms = shared.generator_losses(lambda real, fakes: {"gan": losses.gan_generator(fakes[0])})
    assert not terms["gan"].requires_grad
