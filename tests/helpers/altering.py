"""Files as a faulty disk or a cut-off copy leaves them."""

import random
from pathlib import Path


def flip(path: Path, number: int, last: int | None = None) -> None:
    """Turns one bit over, a random one of the file or of its ``last`` bytes; ``number`` is the seed."""
    content = bytearray(path.read_bytes())
    chance = random.Random(number)
    place = chance.randrange(len(content) - (len(content) if last is None else last), len(content))
    bits = range(8)
    if path.suffix == ".json":  # a blank that becomes another one tells nothing, and there need be no complaint
        places = [i for i, byte in enumerate(content) if chr(byte).isalnum()]
        place, bits = chance.choice(places), range(3)
    content[place] ^= 1 << chance.choice(bits)
    path.write_bytes(content)


def cut(path: Path, number: int) -> None:
    """Keeps the first part of a file, of random length; ``number`` is the seed."""
    content = path.read_bytes()
    path.write_bytes(content[: random.Random(number).randrange(len(content))])
