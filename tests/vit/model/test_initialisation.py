"""Initial values, per weight, against the rules of flax and timm."""

import math

import pytest
import torch

from vit.config import Init, ModelConfig, Pool, PosEmbed
from vit.model.initialisation import TRUNCATED_STD, initialise, lecun_normal_
from vit.model.positions import resample, sincos2d
from vit.model.transformer import VisionTransformer, architecture

D, M = 128, 256
NET = {"width": D, "depth": 2, "mlp": M, "heads": 4, "patch": 8}


def make(init=Init.jax, classes=10, size=(64, 64), init_size=None, **changes):
    torch.manual_seed(0)
    return VisionTransformer(architecture(ModelConfig(**NET, init=init, **changes), classes, 3, size, init_size))


def uniform(weight, bound):
    """Uniform within +-bound: extremes near it, standard deviation bound / sqrt(3)."""
    assert 0.97 * bound < weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.03)


def test_jax_matrices():
    """Query, key and value are Glorot-uniform each, so of standard deviation 1 / sqrt(D)."""
    for block in make().blocks:
        for matrix in block.attn.qkv.weight.chunk(3):
            uniform(matrix, math.sqrt(3 / D))
            assert matrix.std().item() == pytest.approx(D**-0.5, rel=0.03)
        uniform(block.attn.proj.weight, math.sqrt(3 / D))
        for linear in (block.mlp.fc1, block.mlp.fc2):
            uniform(linear.weight, math.sqrt(6 / (D + M)))
            assert linear.bias.std().item() == pytest.approx(1e-6, rel=0.3)
        assert not block.attn.qkv.bias.any() and not block.attn.proj.bias.any()
        assert (block.norm1.weight == 1).all() and not block.norm2.bias.any()


def test_jax_patches_are_lecun_normal():
    model = make()
    weight, std = model.patch_embed.proj.weight, (3 * 8 * 8) ** -0.5
    assert weight.std().item() == pytest.approx(std, rel=0.02)
    assert weight.abs().max() <= 2 * std / TRUNCATED_STD * 1.0001
    assert weight.abs().max() > 1.98 * std / TRUNCATED_STD
    assert not model.patch_embed.proj.bias.any()


def test_truncation_is_corrected():
    weight = torch.empty(1000, 400)
    lecun_normal_(weight)
    assert weight.std().item() == pytest.approx(1 / 20, rel=0.004)
    plain = torch.nn.init.trunc_normal_(torch.empty(1000, 400), std=1 / 20, a=-0.1, b=0.1)
    assert plain.std().item() == pytest.approx(TRUNCATED_STD / 20, rel=0.004)


def test_jax_tokens_and_heads():
    model = make(registers=4, distilled=True, representation=96, head_bias=-3.0)
    assert not model.cls_token.any()
    assert model.dist_token.std().item() == pytest.approx(0.02, rel=0.2)
    assert model.reg_token.std().item() == pytest.approx(1e-6, rel=0.2)
    assert model.pos_embed.std().item() == pytest.approx(0.02, rel=0.03)
    assert model.pre_logits.fc.weight.std().item() == pytest.approx(D**-0.5, rel=0.03)
    assert not model.pre_logits.fc.bias.any()
    for head in (model.head, model.head_dist):
        assert not head.weight.any() and (head.bias == -3).all()


def test_jax_attention_pool():
    pool = make(pool=Pool.map).attn_pool
    bound = math.sqrt(6 / (D + 1))
    assert 0.9 * bound < pool.latent.abs().max() <= bound
    for matrix in (pool.q.weight, *pool.kv.weight.chunk(2), pool.proj.weight):
        uniform(matrix, math.sqrt(3 / D))
    uniform(pool.mlp.fc1.weight, math.sqrt(6 / (D + M)))
    assert pool.mlp.fc2.bias.std().item() == pytest.approx(1e-6, rel=0.3)


def statistics(tensor):
    return tensor.std().item(), tensor.abs().max().item()


@pytest.mark.parametrize("pool", [Pool.cls, Pool.gap, Pool.map])
def test_timm_values_have_timms_statistics(pool):
    """Each tensor of ours is drawn from the distribution that timm draws its namesake from."""
    from timm.models.vision_transformer import VisionTransformer as Timm

    options = {"cls": {}, "gap": {"global_pool": "avg", "class_token": False, "fc_norm": False}}
    options["map"] = {"global_pool": "map", "class_token": False}
    torch.manual_seed(1)
    theirs = Timm(
        img_size=64, patch_size=8, embed_dim=D, depth=2, num_heads=4, mlp_ratio=M / D, num_classes=10, init_values=0.1,
        reg_tokens=4 if pool is Pool.cls else 0, no_embed_class=True, **options[pool.value],
    ).state_dict()  # fmt: skip
    ours = make(
        Init.timm, pool=pool, layer_scale=0.1, registers=4 if pool is Pool.cls else 0, class_position=False
    ).state_dict()
    assert set(ours) == set(theirs)
    for name, tensor in theirs.items():
        assert ours[name].shape == tensor.shape, name
        few = 4 / math.sqrt(tensor.numel())  # four standard errors
        assert ours[name].std().item() == pytest.approx(tensor.std().item(), rel=few, abs=1e-12), name
        assert ours[name].mean().item() == pytest.approx(
            tensor.mean().item(), abs=1.5 * few * tensor.std().item() + 1e-12
        ), name


def test_layer_scale():
    model = make(layer_scale=1e-4)
    for block in model.blocks:
        assert (block.ls1.gamma == 1e-4).all() and (block.ls2.gamma == 1e-4).all()


def test_positions_are_smooth_at_the_coarsest_stage():
    """The table has the final grid, but is drawn at the first stage's: what that stage sees is white noise of 0.02."""
    model = make(size=(128, 128), init_size=(64, 64))
    assert model.arch.init_grid == (8, 8) and model.arch.grid == (16, 16)
    assert model.pos_embed.shape == (1, 1 + 256, D)
    grid = model.pos_embed[0, 1:].unflatten(0, (16, 16))
    step = (grid[1:] - grid[:-1]).std() / grid.std()
    assert step < 1  # neighbours of white noise differ by sqrt(2) of it
    torch.manual_seed(0)
    coarse = torch.randn(1, 1 + 64, D) * 0.02
    again = resample(coarse, (8, 8), (16, 16), 1, model.arch.pos_interp)
    assert again.std().item() == pytest.approx(model.pos_embed.std().item(), rel=0.05)
    seen = model.positions((8, 8))
    assert 0.6 * 0.02 < seen[:, 1:].std() <= 0.021


def test_same_seed_same_values_and_no_other():
    one, two = make().state_dict(), make().state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    torch.manual_seed(5)
    three = VisionTransformer(make().arch).state_dict()
    assert one.keys() == three.keys()


@pytest.mark.parametrize("kind", [PosEmbed.learned, PosEmbed.sincos2d])
def test_built_on_meta_then_filled(kind):
    arch = make(pos_embed=kind).arch
    with torch.device("meta"):
        model = VisionTransformer(arch)
    model.to_empty(device="cpu")
    torch.manual_seed(0)
    initialise(model)
    expected = make(pos_embed=kind)
    for name, tensor in expected.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name
    assert torch.equal(model.pos_embed, expected.pos_embed)
    if kind is PosEmbed.sincos2d:
        assert torch.equal(model.pos_embed, sincos2d(arch.grid, D, kind))


def test_nothing_is_left_undrawn():
    """Weights start as uninitialised memory: with memory full of NaN none may be left."""
    options = dict(registers=2, distilled=True, layer_scale=0.1, representation=8, probe_norm=True)
    for model in (make(**options), make(pool=Pool.map), make(pool=Pool.gap, pool_first=True)):
        with torch.no_grad():
            for tensor in [*model.parameters(), *model.buffers()]:
                tensor.fill_(float("nan")) if tensor.is_floating_point() else tensor.fill_(-1)
        initialise(model)
        for name, tensor in model.state_dict().items():
            assert tensor.isfinite().all() and (tensor >= 0).all() | tensor.is_floating_point(), name
