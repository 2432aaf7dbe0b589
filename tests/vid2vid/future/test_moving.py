"""Ids moved by a flow, against maps drawn by hand."""

import torch

from vid2vid.future.moving import carry_instances, warp_ids


def test_every_pixel_takes_the_nearest_id_that_it_came_from() -> None:
    ids = torch.tensor([[1, 2, 3], [4, 5, 6]], dtype=torch.int16)
    flow = torch.zeros(2, 2, 3)
    flow[0] = 1.4  # rounded to 1: from the right
    flow[1, 0] = 0.6  # the upper row also from below
    assert warp_ids(ids, flow).tolist() == [[5, 6, 6], [5, 6, 6]]
    flow[:] = torch.inf
    assert warp_ids(ids, flow).shape == (2, 3), "a point at infinity is no reason to stop"


def test_instances_move_grow_with_their_class_and_begin_as_it() -> None:
    before = torch.tensor([[7, 26, 26, 7, 7, 7]])
    instances = torch.tensor([[7, 26001, 26002, 7, 7, 7]], dtype=torch.int32)
    flow = torch.zeros(2, 1, 6)
    flow[0] = -1.0  # everything moves to the right
    now = torch.tensor([[24, 7, 26, 26, 26, 7]])  # the second car is longer than it was; a person comes in
    found = carry_instances(instances, before, now, flow)
    assert found.dtype == torch.int32
    assert found.tolist() == [[24, 7, 26001, 26002, 26002, 7]]
