"""What kinds of layers cost: the table has its rows, and products are counted right."""

from tests.helpers.made_run import street_config
from train import SCHEMAS
from vid2vid.benchmark import variants
from vid2vid.config import Block


def test_products_are_those_of_the_convolutions() -> None:
    """Of plain and depthwise blocks they differ by what the 3x3 convolutions of the blocks do."""
    config = street_config((16, 32))
    model = config.model
    channels, pixels = model.ngf * 2**model.downsamplings, 16 * 32 // 4**model.downsamplings
    plain = variants.products(config)
    model.block = Block.depthwise
    # Two encoders with the first half of the blocks, two trunks (H and W) with the others; two convolutions a block.
    convolutions = 2 * 2 * model.blocks
    assert plain - variants.products(config) == convolutions * pixels * channels * (9 * channels - 9 - channels)


def test_the_table_has_a_row_for_each() -> None:
    names = [variants.BASE, "block=depthwise"]
    lines = list(variants.suite(SCHEMAS, 1, "typed", names))
    assert lines[0].startswith("`typed`: ") and "3 frames of 64x128" in lines[0]
    rows = [line.split(" | ") for line in lines[3:]]
    assert [row[0].removeprefix("| ") for row in rows] == names
    assert rows[0][4].startswith("1.00 ") and [row[1] for row in rows] == ["2.79 M", "0.71 M"]
