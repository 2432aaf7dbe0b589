"""Houses with instance ids of their own: the same picture, and ids that follow the walls."""

import numpy as np

from trainer.data.street.world import StreetWorld


def test_houses_have_ids_and_look_as_before() -> None:
    plain, told = (StreetWorld(0, 1, "val", houses=houses).render_clip(10, 3, 8, (64, 128)) for houses in (False, True))
    assert np.array_equal(plain["images"], told["images"]) and np.array_equal(plain["labels"], told["labels"])
    walls = told["labels"] == 11
    assert (plain["instances"][walls] == 11).all() and np.array_equal(
        plain["instances"][~walls], told["instances"][~walls]
    )
    ids = told["instances"][walls]
    assert ids.min() >= 11000 and ids.max() < 12000 and len(np.unique(ids)) > 5


def test_an_id_stays_with_its_house() -> None:
    """Where the flow is trusted, a wall's pixel comes from the same house, over half a second of driving."""
    clip = StreetWorld(0, 0, "val", houses=True).render_clip(30, 9, 1, (64, 128))
    for t in range(1, 9):
        trusted = (clip["confidence"][t, 0] > 0) & (clip["labels"][t] == 11)
        y, x = np.mgrid[:64, :128]
        x, y = (np.rint(a + b).astype(int) for a, b in zip((x, y), clip["flow"][t].astype(float), strict=True))
        before = clip["instances"][t - 1][y.clip(0, 63), x.clip(0, 127)]
        assert (before == clip["instances"][t])[trusted].mean() > 0.99


def test_a_house_has_one_colour() -> None:
    """Within a house colours vary less than between houses: ids do not lump houses together."""
    shown = StreetWorld(0, 3, "val", houses=True).render(0, (128, 256))
    walls = shown["labels"] == 11
    colours, ids = shown["image"][:, walls].T.astype(float), shown["instances"][walls]
    large = [i for i in np.unique(ids) if (ids == i).sum() > 200]
    assert len(large) >= 4
    means = np.stack([colours[ids == i].mean(axis=0) for i in large])
    assert len({tuple(mean.round(-1)) for mean in means}) >= 4
