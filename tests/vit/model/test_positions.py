"""Tables of positions and their resampling; patch kernels at other sizes."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage

from vit.config import ModelConfig, PosEmbed, PosInterp
from vit.model.positions import resample, resample_patch, sincos2d
from vit.model.transformer import VisionTransformer, architecture

BICUBIC, BILINEAR = PosInterp.bicubic, PosInterp.bilinear_jax


def table(grid, prefix=0, width=6):
    return torch.randn(1, prefix + grid[0] * grid[1], width, generator=torch.Generator().manual_seed(0))


def moco(grid, width):
    """The table by its definition, entry by entry."""
    rows, bands = [], width // 4
    for y in range(grid[0]):
        for x in range(grid[1]):
            omega = [10000 ** -(k / (bands - 1)) for k in range(bands)]
            parts = [f(p * w) for p in (x, y) for f in (np.sin, np.cos) for w in omega]
            rows.append(parts)
    return np.array(rows)


def mae(grid, width):
    """As MAE writes it: a mesh whose first axis runs along the columns, halves of the width for each."""

    def one_axis(positions):
        omega = 1 / 10000 ** (np.arange(width // 4) / (width / 4))
        angles = np.einsum("m,d->md", positions.reshape(-1), omega)
        return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)

    mesh = np.meshgrid(np.arange(grid[1], dtype=float), np.arange(grid[0], dtype=float))
    return np.concatenate([one_axis(mesh[0]), one_axis(mesh[1])], axis=1)


@pytest.mark.parametrize("grid", [(4, 4), (3, 5), (1, 2)])
@pytest.mark.parametrize(("kind", "reference"), [(PosEmbed.sincos2d, moco), (PosEmbed.sincos2d_mae, mae)])
def test_sincos_tables(grid, kind, reference):
    found = sincos2d(grid, 16, kind)
    assert found.shape == (1, grid[0] * grid[1], 16) and found.dtype == torch.float32
    np.testing.assert_allclose(found[0].numpy(), reference(grid, 16), atol=1e-6)


def test_sincos_tables_differ():
    one, two = (sincos2d((3, 4), 16, kind) for kind in (PosEmbed.sincos2d, PosEmbed.sincos2d_mae))
    assert (one - two).abs().max() > 0.1


@pytest.mark.parametrize(
    ("dim", "kind", "message"),
    [(18, PosEmbed.sincos2d, "divisible by 4"), (4, PosEmbed.sincos2d, "at least 8"), (16, PosEmbed.none, "no sine")],
)
def test_sincos_refuses(dim, kind, message):
    with pytest.raises(ValueError, match=message):
        sincos2d((2, 2), dim, kind)


@pytest.mark.parametrize("method", list(PosInterp))
@pytest.mark.parametrize("prefix", [0, 1, 2, 5])
def test_same_grid_is_identity(method, prefix):
    t = table((3, 4), prefix)
    assert resample(t, (3, 4), (3, 4), prefix, method) is t


@pytest.mark.parametrize("prefix", [0, 1, 2, 5])
@pytest.mark.parametrize(
    ("old", "new"), [((14, 14), (24, 24)), ((14, 14), (16, 12)), ((6, 4), (3, 9)), ((7, 7), (1, 5))]
)
def test_bicubic_is_timms(old, new, prefix):
    from timm.layers import resample_abs_pos_embed

    t = table(old, prefix)
    expected = resample_abs_pos_embed(t, list(new), list(old), num_prefix_tokens=prefix)
    found = resample(t, old, new, prefix, BICUBIC)
    assert torch.equal(found[:, :prefix], t[:, :prefix])
    torch.testing.assert_close(found, expected, atol=2e-6, rtol=0)


@pytest.mark.parametrize("prefix", [0, 1, 2])
@pytest.mark.parametrize(
    ("old", "new"), [((14, 14), (24, 24)), ((12, 12), (14, 14)), ((14, 14), (7, 7)), ((6, 4), (3, 9))]
)
def test_plain_bicubic_is_that_of_deit_and_mae(old, new, prefix):
    """main.py of DeiT and util/pos_embed.py of MAE: ``interpolate`` of the patches' grid, nothing anti-aliased."""
    t = table(old, prefix)
    grid = t[:, prefix:].unflatten(1, old).permute(0, 3, 1, 2)
    expected = F.interpolate(grid, new, mode="bicubic", align_corners=False).permute(0, 2, 3, 1).flatten(1, 2)
    found = resample(t, old, new, prefix, PosInterp.bicubic_plain)
    assert torch.equal(found[:, :prefix], t[:, :prefix])
    torch.testing.assert_close(found[:, prefix:], expected, atol=2e-6, rtol=0)
    assert (resample(t, old, new, prefix, BICUBIC) - found).abs().max() > 0.1 * t.std()


@pytest.mark.parametrize("prefix", [0, 1, 2, 5])
@pytest.mark.parametrize(
    ("old", "new"), [((14, 14), (24, 24)), ((14, 14), (7, 7)), ((14, 14), (16, 12)), ((6, 4), (3, 9))]
)
def test_bilinear_is_scipys_zoom(old, new, prefix):
    """What vision_transformer and big_vision call: scipy.ndimage.zoom(order=1)."""
    t = table(old, prefix)
    grid = t[0, prefix:].unflatten(0, old).numpy()
    expected = ndimage.zoom(grid, (new[0] / old[0], new[1] / old[1], 1), order=1)
    found = resample(t, old, new, prefix, BILINEAR)
    assert torch.equal(found[:, :prefix], t[:, :prefix])
    np.testing.assert_allclose(found[0, prefix:].unflatten(0, new).numpy(), expected, atol=5e-6)
    other = F.interpolate(torch.from_numpy(grid).permute(2, 0, 1)[None], new, mode="bilinear", align_corners=False)
    assert np.abs(other[0].permute(1, 2, 0).numpy() - expected).max() > 0.1  # what the corners are about


def test_resampling_keeps_type_and_autocast_out():
    t = table((4, 4), 1)
    with torch.autocast("cpu", torch.bfloat16):
        found = resample(t, (4, 4), (6, 5), 1, BICUBIC)
    assert torch.equal(found, resample(t, (4, 4), (6, 5), 1, BICUBIC))
    assert resample(t.bfloat16(), (4, 4), (6, 5), 1, BICUBIC).dtype == torch.bfloat16


def test_resampling_has_gradients():
    t = table((3, 4), 1).double().requires_grad_()
    weights = torch.randn(1, 1 + 30, 6, generator=torch.Generator().manual_seed(1))
    (resample(t, (3, 4), (5, 6), 1, BICUBIC) * weights).sum().backward()
    assert t.grad is not None and (t.grad.abs().sum(-1) > 0).all()


def test_a_wrong_table_is_refused():
    with pytest.raises(ValueError, match=r"no 1 \+ 3 x 4 rows"):
        resample(table((3, 4)), (3, 4), (6, 6), 1, BICUBIC)


@pytest.mark.parametrize("kind", [PosEmbed.learned, PosEmbed.sincos2d, PosEmbed.sincos2d_mae, PosEmbed.none])
def test_a_model_sees_its_table_at_the_grid_of_the_picture(kind):
    arch = architecture(ModelConfig(width=32, depth=1, heads=2, patch=8, pos_embed=kind), 3, 3, (16, 24))
    model = VisionTransformer(arch)
    found = model.positions((4, 5))
    if kind is PosEmbed.none:
        assert found is None
    elif kind is PosEmbed.learned:
        assert model.pos_embed is not None
        assert torch.equal(found, resample(model.pos_embed, (2, 3), (4, 5), 1, BICUBIC))
    else:
        assert torch.equal(found, sincos2d((4, 5), 32, kind))


@pytest.mark.parametrize(("old", "new"), [(16, 32), (16, 14), (16, 8), (8, 12), (5, 7)])
def test_patch_resizing_is_timms(old, new):
    from timm.layers.patch_embed import resample_patch_embed

    weight = torch.randn(4, 3, old, old, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        resample_patch(weight, new), resample_patch_embed(weight, [new, new]), atol=1e-5, rtol=1e-4
    )


def test_larger_patches_respond_as_before():
    """FlexiViT, equation 5: going up, <B x, w'> = <x, w> exactly, B x being the enlarged patch."""
    generator = torch.Generator().manual_seed(0)
    weight, patches = torch.randn(4, 3, 8, 8, generator=generator), torch.randn(10, 3, 8, 8, generator=generator)
    large = F.interpolate(patches, (13, 13), mode="bicubic", antialias=True)
    before = torch.einsum("nchw,dchw->nd", patches, weight)
    after = torch.einsum("nchw,dchw->nd", large, resample_patch(weight, 13))
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-4)
    assert resample_patch(weight, 8) is weight
    with pytest.raises(ValueError, match="square"):
        resample_patch(torch.zeros(1, 1, 4, 6), 8)
