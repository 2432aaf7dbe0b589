"""Tables of positions in files: which rows are of tokens before the patches, and the grid of the others.

Ours has rows for the class and the distillation token (or none) and for patches; timm's may have some for registers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from trainer.errors import CheckpointError

Size = tuple[int, int]


def square_grid(count: int) -> Size | None:
    """(side, side) when ``count`` is a perfect square."""
    side = math.isqrt(count)
    return (side, side) if side > 0 and side * side == count else None


def table_facts(table: Tensor | None, tokens: int, grid: Size | None, where: str) -> dict[str, Any]:
    """pos_embed, class_position and grid of a table (1, tokens + rows x columns or rows x columns, D).

    Both lengths are tested for being a perfect square, exactly: 196 rows are 14x14 patches, never 195 and a class
    token. A ``grid`` that is known settles it, also where it is not square.
    """
    if table is None:
        return {"pos_embed": "none", "class_position": True, "grid": grid}
    length = table.shape[1]
    for prefix in (tokens, 0):
        found = grid or square_grid(length - prefix)
        if found and found[0] * found[1] == length - prefix:
            return {"pos_embed": "learned", "class_position": prefix > 0 or tokens == 0, "grid": found}
    if grid is None:
        raise CheckpointError(
            f"{where} has {length} positions: neither {length} nor {length - tokens} is a square of patches, and "
            "nothing tells its rows and columns: give the size of the pictures it was made for, resolution=[H,W]"
        )
    raise CheckpointError(
        f"{where} has {length} positions: neither {length} nor {length - tokens} of them fit the grid "
        f"{grid[0]}x{grid[1]} of its configuration: give the size of the pictures it was made for, resolution=[H,W]"
    )


def fitting_grid(state: Mapping[str, Tensor], size: Size) -> Size | None:
    """The grid of patches of pictures of ``size``, where the position table is one for it."""
    if "pos_embed" not in state or "patch_embed.proj.weight" not in state:
        return None
    patch = state["patch_embed.proj.weight"].shape[-1]
    rows, columns = size[0] // patch, size[1] // patch
    tokens = ("cls_token" in state) + ("dist_token" in state)
    registers = state["reg_token"].shape[1] if "reg_token" in state else 0
    length = state["pos_embed"].shape[1]
    prefix = length - rows * columns
    if not prefix and tokens and square_grid(length - tokens):  # a square and its tokens: the usual table
        return None
    return (rows, columns) if prefix in (0, tokens, tokens + registers) and rows and columns else None


def first_fitting(state: Mapping[str, Tensor], told: Size | None, *sizes: Size | None) -> Size | None:
    """The grid of the position table: the one ``told``, else that of the first of ``sizes`` whose grid the table is.

    Args:
        told: rows and columns of a configuration; returned where the table fits it, or nothing else does.
        sizes: (height, width) in pixels.
    """
    patch = state["patch_embed.proj.weight"].shape[-1] if "patch_embed.proj.weight" in state else 1
    first = [] if told is None else [(told[0] * patch, told[1] * patch)]
    found = (fitting_grid(state, size) for size in (*first, *sizes) if size is not None)
    return next((grid for grid in found if grid is not None), told)


def guessed(arch: Mapping[str, Any]) -> str:
    """What must be said of a table of positions whose rows and columns nothing tells."""
    if not arch["grid"] or arch["pos_embed"] != "learned":
        return ""
    rows, columns = arch["grid"]
    return (
        f"nothing tells the rows and columns of its {rows * columns} positions: taken as {rows}x{columns}, of pictures "
        f"of {rows * arch['patch']}x{columns * arch['patch']} pixels. Were they oblong, scripts/convert.py with "
        "resolution=[H,W] writes a file that tells"
    )


def fold_register_rows(state: dict[str, Tensor], grid: Size | None) -> list[str]:
    """Where registers have rows in the position table (timm may keep them), add these to the registers themselves.

    Ours have no such rows; the function stays the same. Changes ``state``; returns a line for the user, if anything was
    to be done.
    """
    if "reg_token" not in state or "pos_embed" not in state:
        return []
    registers, table = state["reg_token"].shape[1], state["pos_embed"]
    tokens = ("cls_token" in state) + ("dist_token" in state)
    patches = grid[0] * grid[1] if grid else 0

    def fits(prefix: int) -> bool:
        count = table.shape[1] - prefix
        return count == patches if patches else square_grid(count) is not None

    if fits(0) or fits(tokens) or not fits(tokens + registers):
        return []
    state["reg_token"] = state["reg_token"] + table[:, tokens : tokens + registers]
    state["pos_embed"] = torch.cat([table[:, :tokens], table[:, tokens + registers :]], dim=1)
    return ["positions of the registers added to the registers: the same function"]


def add_register_rows(state: dict[str, Tensor], facts: Mapping[str, Any]) -> None:
    """The inverse of ``fold_register_rows``: timm has rows for all tokens before the patches, or for none.

    Changes ``state``. Reading adds the rows to the registers: -0 keeps every bit of these.
    """
    if "pos_embed" in state and facts["registers"] and facts["class_position"] and facts["class_token"]:
        rows, table = facts["class_token"] + facts["distilled"], state["pos_embed"]
        none = table.new_full((1, facts["registers"], table.shape[2]), -0.0)
        state["pos_embed"] = torch.cat([table[:, :rows], none, table[:, rows:]], dim=1)


def take_rows(
    state: dict[str, Tensor], table: Tensor, tokens: Sequence[str], grid: Size | None, target: Size
) -> tuple[int, Size, list[str]]:
    """``split_table`` of a file's table, whose rows of registers are added to the registers themselves.

    Args:
        state: changed where registers have rows.
        table: (1, rows, D).
        tokens: names of class and distillation tokens in ``state``.
        grid, target: see ``split_table``.

    Returns:
        Rows before those of the patches, the grid of these, and lines for the user.

    Raises:
        ValueError: no division is possible; says what was tried.
    """
    registers, notes = state["reg_token"].shape[1] if "reg_token" in state else 0, list[str]()
    try:
        prefix, found = split_table(table.shape[1], len(tokens), registers, grid, target)
    except ValueError:
        raise ValueError(
            f"its position table has {table.shape[1]} rows, which is no square grid of patches (with or without "
            f"{len(tokens)} class tokens and {registers} registers), nor this model's {target[0]}x{target[1]}"
        ) from None
    square = square_grid(found[0] * found[1])
    if grid is None and square not in (None, found):
        notes.append(
            f"its {found[0] * found[1]} positions are taken as {found[0]}x{found[1]}, the grid of this resolution; the "
            f"file does not tell them from {square[0]}x{square[1]}"
        )
    if prefix > len(tokens):
        state["reg_token"] = state["reg_token"] + table[:, len(tokens) : prefix]
        notes.append("positions of the registers are added to the registers")
    return prefix, found, notes


def split_table(rows: int, tokens: int, registers: int, grid: Size | None, target: Size) -> tuple[int, Size]:
    """How the rows of a position table divide: rows before those of the patches, and the grid of these.

    Args:
        rows: of the table.
        tokens: class and distillation tokens that the file has.
        registers: registers that the file has; timm's tables may have rows for them, after those of the tokens.
        grid: where the file tells it.
        target: grid of the model; where the file tells none, rows as many as it has are taken to be its, before a
            square of the same number is.

    Raises:
        ValueError: no division is possible.
    """
    prefixes = list(dict.fromkeys([tokens, tokens + registers, 0]))
    for prefix in prefixes:
        if grid is not None and rows - prefix == grid[0] * grid[1]:
            return prefix, grid
    for prefix in prefixes if grid is None else ():
        patches = rows - prefix
        if patches == target[0] * target[1]:
            return prefix, target
        side = math.isqrt(max(patches, 0))
        if side and side * side == patches:
            return prefix, (side, side)
    raise ValueError(f"a position table of {rows} rows fits no grid")
