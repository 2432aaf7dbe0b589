"""Directions of largest variance against a singular value decomposition; the picture has a panel for each network."""

from __future__ import annotations

import torch

from tests.helpers.blobs import blobs
from vit.analysis.features.scatter import apart, principal, scatter
from vit.evaluate.linear import Features


def test_directions_are_those_of_the_singular_vectors() -> None:
    x = blobs(50, 6).x
    centred = (x - x.mean(0)).double()
    left, values, _ = torch.linalg.svd(centred, full_matrices=False)
    expected = left[:, :2] * values[:2]
    found = principal(x)
    torch.testing.assert_close(found.abs(), expected.abs(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found, principal(x + 7.0), rtol=1e-3, atol=1e-4)


def test_the_picture_has_a_panel_for_each_and_takes_many_classes() -> None:
    one = scatter({"a": blobs(30, 6)}, list("abcd"))
    two = scatter({"a": blobs(30, 6), "b": blobs(30, 9)}, list("abcd"))
    assert two.shape[1] == 2 * one.shape[1] and one.dtype == torch.uint8 and len(one.unique()) > 50
    many = Features(torch.randn(60, 3), torch.arange(60))
    assert scatter({"a": many}, [str(k) for k in range(60)]).shape == one.shape


def test_names_do_not_hide_each_other() -> None:
    centres = torch.tensor([[0.5, 0.5], [0.5, 0.5], [0.52, 0.51], [0.9, 0.5]], dtype=torch.float64)
    found = apart(centres, [5, 5, 8, 3])
    gaps = (found[:3, None, 1] - found[None, :3, 1]).abs() + torch.eye(3)
    assert gaps.min() > 0.04 and torch.equal(found[3], centres[3]) and torch.equal(found[:, 0], centres[:, 0])
    assert (found - centres).abs().max() < 0.1
