"""Keys of regions say what they are of, whatever the ids; numbering them needs no count."""

import torch

from vid2vid.styles.regions import Region, has_class, numbered, region_keys, region_of

CHANNELS = torch.tensor([[[[0, 0], [4, -1]]], [[[0, 65535], [4, -2]]]])  # (2, 1, 2, 2)
INSTANCES = torch.tensor([[[[7, -7], [2**31 - 1, 0]]], [[[-(2**31), 1], [26001, 5]]]], dtype=torch.int32)


def test_a_key_says_clip_class_and_instance() -> None:
    keys = region_keys(CHANNELS, {"instances": INSTANCES})
    found = [region_of(key) for key in keys.flatten().tolist()]
    assert found == [
        Region(0, 0, 7), Region(0, 0, -7), Region(0, 4, 2**31 - 1), Region(0, -1, 0),
        Region(1, 0, -(2**31)), Region(1, 65535, 1), Region(1, 4, 26001), Region(1, -1, 5),
    ]  # fmt: skip
    assert has_class(keys).flatten().tolist() == [True, True, True, False, True, True, True, False]


def test_without_instances_a_class_is_a_region() -> None:
    keys = region_keys(CHANNELS, {})
    assert [region_of(key)[1:] for key in keys[0].flatten().tolist()] == [(0, 0), (0, 0), (4, 0), (-1, 0)]


def test_frames_can_be_told_apart() -> None:
    channels = torch.zeros(2, 3, 1, 1, dtype=torch.long)
    groups = lambda per_frame: [region_of(k).group for k in region_keys(channels, {}, per_frame).flatten().tolist()]  # noqa: E731
    assert groups(False) == [0, 0, 0, 1, 1, 1] and groups(True) == [0, 1, 2, 3, 4, 5]


def test_numbers_are_those_of_unique() -> None:
    keys = region_keys(torch.randint(-1, 5, (2, 3, 8, 8)), {"instances": torch.randint(-3, 3, (2, 3, 8, 8)).int()})
    assert torch.equal(numbered(keys), keys.unique(return_inverse=True)[1])
