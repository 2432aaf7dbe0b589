"""Google's .npz files: the nine fixtures, which Google's own JAX models made, and every face of the layout."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.helpers import paths
from trainer.errors import CheckpointError
from vit.model.transformer import VisionTransformer
from vit.weights.names.of_google import BIG_VISION, Layout, from_google, read_arrays, split_class_row, to_google
from vit.weights.reading import read
from vit.weights.writing import write

FIXTURES = paths.FIXTURES / "vit"
SHARED = paths.SHARED / "fixtures" / "vit"
NAMES = [
    "bv_gap_bf16", "bv_gap_sincos_rep", "bv_map_learn", "bv_tok_learn_scan", "bv_tower_prefix",
    "vt_gap", "vt_prelogits_old_numbering", "vt_token", "vt_token_old_numbering",
]  # fmt: skip


def fixture(name):
    """A fixture's path; the largest is not kept in the repository."""
    path = next((p for folder in (FIXTURES, SHARED) if (p := folder / name).exists()), None)
    if path is None:
        pytest.skip(f"{name} is neither in tests/fixtures nor in ../shared/fixtures")
    return path


def build(found):
    """Our network with the weights that were read, in fp32 and evaluation mode."""
    model = VisionTransformer(found.architecture()).eval()
    model.load_state_dict(found.state, strict=True)
    return model


def bytes_of(arrays):
    return {key: (array.dtype.str, array.shape, array.tobytes()) for key, array in arrays.items()}


def random_arrays(**extra):
    """A small file in vision_transformer's layout, as arrays."""
    arrays = dict(read_arrays(FIXTURES / "vt_token.npz"))
    return {**arrays, **extra}


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_outputs_are_those_of_googles_models(name):
    found = read(fixture(f"{name}.npz"))
    truth = np.load(fixture(f"{name}.io.npz"), allow_pickle=False)
    model = build(found)
    images = torch.from_numpy(truth["input"]).permute(0, 3, 1, 2)
    assert (model(images) - torch.from_numpy(truth["logits"])).abs().max() < 1e-4
    if "pre_logits" in truth.files:
        assert (model.representation(images) - torch.from_numpy(truth["pre_logits"])).abs().max() < 1e-4
    assert found.mean == found.std == (0.5, 0.5, 0.5)
    assert found.arch["gelu"] == "tanh" and found.arch["num_classes"] == 7


@pytest.mark.parametrize("name", NAMES)
def test_read_and_written_gives_the_same_bytes(name, tmp_path):
    found = read(fixture(f"{name}.npz"))
    write(found.state, found.arch, tmp_path / "again.npz", "npz", layout=Layout(**found.layout))
    assert bytes_of(read_arrays(tmp_path / "again.npz")) == bytes_of(read_arrays(fixture(f"{name}.npz")))
    again = read(tmp_path / "again.npz")
    assert again.layout == found.layout and again.arch == found.arch
    assert all(torch.equal(again.state[key], tensor) for key, tensor in found.state.items())


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("numbering", ["through", "linen"])
@pytest.mark.parametrize("prefix", ["", "opt/target/", "params/", "params/img/"])
def test_every_face_reads_alike(prefix, numbering, stacked):
    found = read(FIXTURES / "vt_token.npz")
    arrays = to_google(found.state, 4, Layout(prefix, numbering, stacked, "pos_embedding"))
    again = from_google(arrays, "a file")
    assert again.arch == found.arch
    assert again.layout == {**found.layout, "prefix": prefix, "numbering": numbering, "stacked": stacked} | {
        "positions": "pos_embedding"
    }
    assert all(torch.equal(again.state[key], tensor) for key, tensor in found.state.items())


def test_scanned_blocks_equal_blocks_side_by_side():
    found = read(FIXTURES / "bv_tok_learn_scan.npz")
    loop = from_google(to_google(found.state, 4, BIG_VISION), "a file")
    assert not loop.layout["stacked"] and found.layout["stacked"]
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(build(found)(images), build(loop)(images))


@torch.no_grad()
def test_position_of_the_class_token_moves_into_the_token():
    found = read(FIXTURES / "vt_token.npz")
    merged = from_google(to_google(split_class_row(found.state), 4, BIG_VISION), "a file")
    assert found.arch["class_position"] and not merged.arch["class_position"]
    assert merged.state["pos_embed"].shape[1] == found.state["pos_embed"].shape[1] - 1
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert (build(found)(images) - build(merged)(images)).abs().max() < 1e-6


@torch.no_grad()
def test_a_class_token_without_position_gets_a_row_of_zeros(tmp_path):
    found = read(FIXTURES / "bv_tok_learn_scan.npz")
    written = write(found.state, found.arch, tmp_path / "a.npz", "npz")
    again = read(tmp_path / "a.npz")
    assert any("zeros" in note for note in written.notes) and again.arch["class_position"]
    assert not again.state["pos_embed"][:, 0].any()
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(build(found)(images), build(again)(images))


def test_bf16_stored_as_void_stays_bf16():
    found = read(FIXTURES / "bv_gap_bf16.npz")
    raw = read_arrays(FIXTURES / "bv_gap_bf16.npz")
    assert {tensor.dtype for tensor in found.state.values()} == {torch.bfloat16}
    halves = raw["params/head/bias"].view(np.uint16).astype(np.uint32) << 16  # bf16 is the upper half of fp32
    assert torch.equal(found.state["head.bias"].float(), torch.from_numpy(halves.view(np.float32).copy()))


@pytest.mark.parametrize("count, class_position", [(196, None), (197, True), (196, False)])
def test_196_positions_are_patches_and_197_have_a_class_token(count, class_position):
    arrays = random_arrays(**{"Transformer/posembed_input/pos_embedding": np.zeros((1, count, 64), np.float32)})
    if class_position is None:
        del arrays["cls"]
    arch = from_google(arrays, "a file").arch
    assert arch["grid"] == (14, 14)
    assert arch["class_token"] is (class_position is not None)
    assert class_position is None or arch["class_position"] is class_position


def test_what_belongs_to_others_is_left_out_and_said():
    arrays = {f"params/img/{key}": array for key, array in random_arrays().items()}
    arrays |= {"params/t": np.zeros(1, np.float32), "params/txt/Embed_0/embedding": np.zeros((4, 8), np.float32)}
    found = from_google(arrays, "a file")
    assert found.layout["prefix"] == "params/img/" and "params/t" in found.notes[0]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"conv_root/kernel": np.zeros((7, 7, 3, 64), np.float32)}, "hybrid"),
        ({"Transformer/unheard_of/kernel": np.zeros(3, np.float32)}, "unheard_of"),
        ({"Transformer/posembed_input/pos_embedding": np.zeros((1, 12, 64), np.float32)}, "12 positions"),
        ({"MAPHead_0/probe": np.zeros((1, 1, 64), np.float32)}, "missing .*attn_pool.q.weight"),
        ({"embedding/kernel": None}, "holds no embedding/kernel"),
        ({"Transformer/encoderblock_1/MultiHeadDotProductAttention_0/key/kernel": None}, "lacks .*key/kernel"),
        ({"Transformer/encoderblock_1/LayerNorm_0/scale": None}, "missing .*blocks.1.norm1.weight"),
    ],
)
def test_what_is_no_plain_vit_is_refused_with_the_reason(change, message, tmp_path):
    arrays = {key: array for key, array in random_arrays(**change).items() if array is not None}
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(CheckpointError, match=message):
        read(tmp_path / "a.npz")


def test_objects_in_a_file_are_never_unpickled(tmp_path):
    np.savez(tmp_path / "a.npz", **random_arrays(evil=np.array([{"a": 1}], dtype=object)))
    with pytest.raises(CheckpointError, match=r"not a readable \.npz"):
        read(tmp_path / "a.npz")


def test_the_name_of_a_tower_may_follow_the_file(tmp_path):
    np.savez(tmp_path / "a.npz", **{f"params/img/{key}": array for key, array in random_arrays().items()})
    assert read(f"{tmp_path}/a.npz:img").arch["width"] == 64


@torch.no_grad()
def test_timms_own_reader_of_npz_agrees_on_what_is_written(tmp_path):
    timm = pytest.importorskip("timm")
    found = read(FIXTURES / "vt_token_old_numbering.npz")
    state = {name: tensor + 0.01 for name, tensor in found.state.items()}
    write(state, found.arch, tmp_path / "a.npz", "npz")
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 2, "num_heads": 4, "mlp_ratio": 2}
    theirs = timm.create_model("vit_base_patch16_224", num_classes=7, act_layer="gelu_tanh", **sizes).eval()
    theirs.load_pretrained(str(tmp_path / "a.npz"))
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    ours = VisionTransformer(found.architecture()).eval()
    ours.load_state_dict(state)
    assert (ours(images) - theirs(images)).abs().max() < 1e-5
