"""The names of augmentation policies (`augment.auto`) and what they mean. Importing this loads no torch."""

from __future__ import annotations

import re
from dataclasses import dataclass

from trainer.errors import ConfigError

FORMS = (
    "randaugment-nN-mM (torchvision's operations; N operations of magnitude M, 0..30), "
    "bv_randaugment-nN-mM (big_vision's operations; M 0..30, usually 10), "
    "rand-mM-nN-mstdS-pP-mmaxX-inc1 (as timm writes it; all parts after rand may be left out), "
    "autoaugment (the ImageNet policy) or three (grey, solarize or blur)"
)


@dataclass(frozen=True)
class Policy:
    """What `augment.auto` asks for.

    Attributes:
        kind: randaugment | bv_randaugment | rand | autoaugment | three.
        ops: operations drawn per picture, with replacement.
        magnitude: 0..30 of 30 for randaugment; of 10, where more than 10 extrapolates, for the next two.
        std: of the magnitude, normal; infinite: the magnitude is uniform in 0..magnitude. `rand` only.
        limit: the noisy magnitude is cut to 0..limit. `rand` only.
        probability: of each drawn operation. `rand` only.
        increasing: posterize, solarize and the colour operations get more severe with the magnitude. `rand` only.
    """

    kind: str
    ops: int = 2
    magnitude: float = 10.0
    std: float = 0.0
    limit: float = 10.0
    probability: float = 1.0
    increasing: bool = False


def parse_auto(text: str) -> Policy:
    """Read `augment.auto`.

    Raises:
        ConfigError: not one of the forms; names the part that is wrong and the forms there are.
    """
    wrong = problem(text)
    if wrong is not None:
        raise ConfigError(f"augment.auto={text}: {wrong}")
    return _parse(text)


def problem(text: str) -> str | None:
    """What is wrong with a value of `augment.auto`, and the forms there are; None if nothing is."""
    try:
        _parse(text)
    except ValueError as error:
        return f"{error}; the forms are {FORMS}"
    return None


def _parse(text: str) -> Policy:
    kind, *parts = text.strip().split("-")
    if kind in ("autoaugment", "three"):
        if parts:
            raise ValueError(f"{kind} takes no parts such as '{parts[0]}'")
        return Policy(kind)
    if kind in ("randaugment", "bv_randaugment"):
        values = _parts(parts, {"n": int, "m": float})
        policy = Policy(kind, ops=int(values.get("n", 2)), magnitude=values.get("m", 10.0))
    elif kind == "rand":
        values = _parts(parts, {"n": int, "m": float, "mstd": float, "mmax": float, "p": float, "inc": int})
        std = values.get("mstd", 0.0)
        policy = Policy(
            kind,
            ops=int(values.get("n", 2)),
            magnitude=values.get("m", 10.0),
            std=float("inf") if std > 100 else std,  # as timm: a way to write "uniform"
            limit=values.get("mmax", 10.0),
            probability=values.get("p", 0.5),
            increasing=bool(values.get("inc", 0)),
        )
        if policy.probability > 1:
            raise ValueError(f"p{policy.probability:g} is not a probability, 0..1")
        if policy.magnitude > policy.limit:
            raise ValueError(f"m{policy.magnitude:g} is above the limit, 10 unless mmax says otherwise")
    else:
        raise ValueError(f"there is no policy '{kind}'")
    if policy.ops < 1:
        raise ValueError("n must be 1 or more (augment.auto=null switches the policy off)")
    if policy.magnitude > 30:
        raise ValueError(f"m{policy.magnitude:g} is above 30")
    return policy


def _parts(parts: list[str], known: dict[str, type]) -> dict[str, float]:
    values: dict[str, float] = {}
    for part in parts:
        match = re.fullmatch(r"([a-z]+)(\d+(?:\.\d+)?|\.\d+)", part)
        if match is None or match[1] not in known:
            raise ValueError(f"'{part}' is not one of its parts ({', '.join(known)}, each followed by a number)")
        name, number = match[1], match[2]
        if name in values:
            raise ValueError(f"'{name}' is given twice")
        if known[name] is int and not number.isdigit():
            raise ValueError(f"'{part}' needs a whole number")
        values[name] = float(number)
    return values
