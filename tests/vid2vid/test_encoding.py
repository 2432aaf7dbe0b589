"""One-hot channels, instance edges, masks and image ranges against definitions written out by hand."""

from __future__ import annotations

import pytest
import torch

from trainer.errors import ConfigError, DataError
from vid2vid.config import DataConfig, ForegroundKind, ModelConfig, SourceKind
from vid2vid.encoding import SourceEncoder, float_to_images, images_to_float, instance_edges, prepend_context


def edges_by_hand(ids: torch.Tensor) -> torch.Tensor:
    height, width = ids.shape
    out = torch.zeros(height, width, dtype=torch.bool)
    for y in range(height):
        for x in range(width):
            for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0)):
                if 0 <= y + dy < height and 0 <= x + dx < width:
                    out[y, x] |= bool(ids[y, x] != ids[y + dy, x + dx])
    return out


def test_every_label_lights_its_own_channel_only():
    labels = torch.randint(0, 7, (2, 3, 5, 6), dtype=torch.int16)
    encoder = SourceEncoder(ModelConfig(num_labels=7, instance_edges=False), DataConfig())
    source = encoder.encode({"labels": labels})
    assert source.shape == (2, 3, 7, 5, 6) and source.dtype == torch.float32 and encoder.channels == 7
    for label in range(7):
        assert torch.equal(source[:, :, label], (labels == label).float())


def test_ignored_pixels_belong_to_no_class():
    labels = torch.tensor([[0, 255, 2]], dtype=torch.int16)[None, None]
    source = SourceEncoder(ModelConfig(num_labels=3, instance_edges=False), DataConfig()).encode({"labels": labels})
    assert source[0, 0, :, 0].tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 1]]


def test_label_ids_choose_channels_and_their_order_with_ids_above_255():
    model = ModelConfig(label_ids=[26001, 7, 300], instance_edges=False)
    encoder = SourceEncoder(model, DataConfig(ignore_label=-1))
    labels = torch.tensor([[7, 300], [26001, -1]], dtype=torch.int32)[None, None]
    assert encoder.channels == 3
    assert encoder.encode({"labels": labels})[0, 0].argmax(0).tolist() == [[1, 2], [0, 0]]
    assert encoder.encode({"labels": labels})[0, 0].sum(0).tolist() == [[1, 1], [1, 0]]


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (ModelConfig(num_labels=4), ["9", "num_labels=4"]),
        (ModelConfig(label_ids=[0, 1]), ["2, 9", "model.label_ids"]),
    ],
)
def test_an_id_without_a_channel_is_named(model: ModelConfig, words: list[str]):
    labels = torch.tensor([[0, 1, 2, 9, 255]], dtype=torch.int16)[None, None]
    with pytest.raises(DataError) as error:
        SourceEncoder(model, DataConfig()).encode({"labels": labels})
    assert all(word in str(error.value) for word in words)


def test_instance_edges_mark_both_sides_of_a_boundary():
    ids = torch.randint(0, 3, (4, 2, 7, 9), dtype=torch.int32)
    edges = instance_edges(ids)
    for b in range(4):
        for t in range(2):
            assert torch.equal(edges[b, t], edges_by_hand(ids[b, t]))


def test_the_edge_channel_is_the_last_and_falls_back_on_the_labels():
    labels = torch.zeros(1, 1, 4, 6, dtype=torch.int16)
    labels[..., 3:] = 1
    instances = torch.zeros(1, 1, 4, 6, dtype=torch.int32)
    instances[..., :2, :] = 26001
    encoder = SourceEncoder(ModelConfig(num_labels=2), DataConfig())
    assert encoder.channels == 3
    with_instances = encoder.encode({"labels": labels, "instances": instances})[0, 0, -1]
    assert torch.equal(with_instances, edges_by_hand(instances[0, 0]).float())
    without = encoder.encode({"labels": labels})[0, 0, -1]
    assert torch.equal(without, edges_by_hand(labels[0, 0]).float())


def test_pictures_as_source_keep_their_channels():
    source = torch.randint(0, 256, (1, 2, 4, 5, 6), dtype=torch.uint8)
    encoder = SourceEncoder(ModelConfig(source=SourceKind.image, source_channels=4), DataConfig())
    encoded = encoder.encode({"source": source})
    assert encoder.channels == 4 and torch.allclose(encoded, source / 127.5 - 1)
    with pytest.raises(DataError, match="source_channels=3"):
        SourceEncoder(ModelConfig(source=SourceKind.image), DataConfig()).encode({"source": source})


def test_foreground_mask():
    labels = torch.tensor([[24, 7, 26, 255, 33]], dtype=torch.int16)[None, None]
    assert SourceEncoder(ModelConfig(), DataConfig()).foreground_mask({"labels": labels}) is None
    model = ModelConfig(foreground=ForegroundKind.paper, foreground_labels=[24, 26, 255])
    mask = SourceEncoder(model, DataConfig()).foreground_mask({"labels": labels})
    assert mask is not None and mask.shape == (1, 1, 1, 1, 5)
    assert mask.flatten().tolist() == [1, 0, 1, 0, 0]
    with pytest.raises(ConfigError, match="foreground"):
        SourceEncoder(ModelConfig(source=SourceKind.image, foreground=ForegroundKind.paper), DataConfig())


def test_images_survive_the_way_to_floats_and_back():
    images = torch.arange(256, dtype=torch.uint8)
    values = images_to_float(images)
    assert values.min() == -1 and values.max() == 1
    assert torch.equal(float_to_images(values), images)
    assert float_to_images(torch.tensor([-3.0, 3.0])).tolist() == [0, 255]


def test_context_repeats_the_first_frame():
    source = torch.randn(2, 3, 4, 5, 6)
    extended = prepend_context(source, 2)
    assert extended.shape == (2, 5, 4, 5, 6)
    assert all(torch.equal(extended[:, t], source[:, max(t - 2, 0)]) for t in range(5))


def test_tables_made_while_generating_serve_training():
    model = ModelConfig(num_labels=3, foreground=ForegroundKind.paper, foreground_labels=[1])
    encoder = SourceEncoder(model, DataConfig())
    labels = torch.ones(1, 1, 4, 4, dtype=torch.int16)
    with torch.inference_mode():
        encoder.encode({"labels": labels})
    weight = torch.ones(1, requires_grad=True)
    mask = encoder.foreground_mask({"labels": labels})
    assert mask is not None
    (encoder.encode({"labels": labels}).sum() * weight * mask).sum().backward()
    assert weight.grad is not None and weight.grad.item() == 16 * 16


def test_several_ignored_ids_have_no_channel():
    model = ModelConfig(label_ids=[7, 26], instance_edges=False)
    encoder = SourceEncoder(model, DataConfig(ignore_label=[255, 0]))
    encoded = encoder.encode({"labels": torch.tensor([[[[0, 7], [255, 26]]]])})
    assert encoded[0, 0].tolist() == [[[0, 1], [0, 0]], [[0, 0], [0, 1]]]
    with pytest.raises(DataError, match=r"label ids 8 are in the data but not in model\.label_ids"):
        encoder.encode({"labels": torch.tensor([[[[8]]]])})
