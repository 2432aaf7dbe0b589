"""The canvas in a real Chromium: what mouse, keys, touch and pen paint arrives at the server as exactly these ids."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from tests.helpers.browser import PHONE, WAIT_MS, browser, needs_browser, opened
from trainer.errors import DataError
from trainer.page.canvas import Moved, PaintClass, Painting, decode, encode, label_canvas

pytestmark = [
    needs_browser,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

SKY, ROAD, CAR, FAR, VOID = 0, 7, 26, 40_000, -1
CLASSES = [
    PaintClass(SKY, "sky", (70, 130, 180)),
    PaintClass(ROAD, "road", (128, 64, 128)),
    PaintClass(CAR, "car", (0, 0, 142)),
    PaintClass(FAR, "far <b>away</b>", (1, 2, 3)),
    PaintClass(VOID, "void", (0, 0, 0)),
    *(PaintClass(100 + i, f"sort {i}", (200, 8 * i, 0)) for i in range(12)),
]
HEIGHT, WIDTH = 32, 64


def street() -> np.ndarray:
    """Sky, road, a car of 4 by 6 whose upper left pixel is (20, 10), and a pixel of each other kind of id."""
    labels = np.full((HEIGHT, WIDTH), SKY)
    labels[16:] = ROAD
    labels[20:24, 10:16] = CAR
    labels[0, 0], labels[0, 63] = FAR, VOID
    return labels


@dataclass
class Surface:
    """A page with the canvas, and what its server read of it."""

    page: Any
    read: Callable[[], Painting]

    def __post_init__(self) -> None:
        self.element = self.page.locator(".lc-surface")

    def at(self, y: int, x: int) -> tuple[float, float]:
        """The middle of a pixel of the label map, on the screen."""
        box = self.element.bounding_box()
        return box["x"] + (x + 0.5) * box["width"] / WIDTH, box["y"] + (y + 0.5) * box["height"] / HEIGHT

    def drag(self, *cells: tuple[int, int]) -> None:
        """With the mouse from the first to the last."""
        self.element.scroll_into_view_if_needed()
        self.page.mouse.move(*self.at(*cells[0]))
        self.page.mouse.down()
        for cell in cells[1:]:
            self.page.mouse.move(*self.at(*cell), steps=4)
        self.page.mouse.up()

    def choose(self, name: str) -> None:
        """A tool or a class, by its name."""
        self.page.get_by_role("radio", name=name, exact=True).check(force=True)

    def press(self, *keys: str) -> None:
        """Keys, one after the other."""
        for key in keys:
            self.page.keyboard.press(key)

    def button(self, name: str) -> None:
        """A click on it."""
        self.page.get_by_role("button", name=name).click()

    def labels(self) -> np.ndarray:
        """(H, W), as the server reads them."""
        painting = self.read()
        assert len(painting.labels) == 1
        return painting.labels[0]


@dataclass
class Served:
    """The application that the tests use."""

    url: str = ""
    paintings: list[Painting] = field(default_factory=list)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    import gradio as gr

    found = Served()

    def read(value: Any) -> int:
        try:
            found.paintings.append(decode(value, CLASSES, (HEIGHT, WIDTH), frames=4))
        except DataError as error:
            raise gr.Error(str(error)) from None
        return len(found.paintings)

    def clip() -> dict[str, Any]:
        return encode(np.stack([np.roll(street(), t, axis=1) for t in range(4)]), CLASSES, frame=1)

    with gr.Blocks(analytics_enabled=False) as demo:
        with gr.Column() as column:
            canvas = label_canvas(encode(street(), CLASSES, void=VOID, paths=True), label="Street")
        count = gr.Textbox("0", label="Count")
        gr.Button("Read").click(read, canvas, count, api_name="read")
        gr.Button("Bring a clip").click(clip, None, canvas)
        gr.Button("Hide").click(lambda: gr.Column(visible=False), None, column)
        gr.Button("Show").click(lambda: gr.Column(visible=True), None, column)
    demo.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", ssr_mode=False, show_error=True)
    found.url = str(demo.local_url)
    yield found
    demo.close(verbose=False)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as found:
        yield found


def reading(page: Any, served: Served) -> Surface:
    """The page of the application, opened anew."""
    from playwright.sync_api import expect

    page.goto(served.url)
    page.wait_for_selector(".lc[data-state=ready]", timeout=WAIT_MS)

    def read() -> Painting:
        wanted = len(served.paintings) + 1
        page.get_by_role("button", name="Read").click()
        expect(page.get_by_label("Count")).to_have_value(str(wanted), timeout=WAIT_MS)
        return served.paintings[-1]

    return Surface(page, read)


@pytest.fixture(scope="module")
def page(chromium: Any, served: Served) -> Iterator[Any]:
    with opened(chromium, served.url) as found:
        yield found


@pytest.fixture
def surface(page: Any, served: Served) -> Iterator[Surface]:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    yield reading(page, served)
    assert errors == []


def painted(*parts: tuple[Any, Any, int]) -> np.ndarray:
    """The street with blocks of ids painted on it."""
    labels = street()
    for rows, columns, label in parts:
        labels[rows, columns] = label
    return labels


def test_what_is_not_painted_on_comes_back_exactly(surface: Surface) -> None:
    np.testing.assert_array_equal(surface.labels(), street())


def test_the_mouse_paints_erases_and_undoes(surface: Surface) -> None:
    surface.choose("car")
    surface.drag((5, 20), (5, 40))  # the brush is 3 by 3
    stroke = (slice(4, 7), slice(19, 42))
    np.testing.assert_array_equal(surface.labels(), painted((*stroke, CAR)))
    surface.choose("Eraser")
    surface.drag((5, 30), (5, 31))
    np.testing.assert_array_equal(surface.labels(), painted((*stroke, CAR), (slice(4, 7), slice(29, 33), SKY)))
    surface.button("Undo")
    np.testing.assert_array_equal(surface.labels(), painted((*stroke, CAR)))
    surface.element.focus()
    surface.press("Control+z")
    np.testing.assert_array_equal(surface.labels(), street())
    surface.button("Redo")
    np.testing.assert_array_equal(surface.labels(), painted((*stroke, CAR)))


def test_lines_rectangles_fills_and_picks(surface: Surface) -> None:
    surface.choose("Pick")
    surface.drag((0, 0))
    surface.choose("Rectangle")
    surface.drag((28, 50), (30, 60))
    box = (slice(28, 31), slice(50, 61), FAR)
    np.testing.assert_array_equal(surface.labels(), painted(box))
    surface.choose("Line")
    surface.element.focus()
    surface.press("[", "[", "3")
    surface.drag((1, 5), (11, 15))
    line = (range(1, 12), range(5, 16), CAR)
    np.testing.assert_array_equal(surface.labels(), painted(box, line))
    surface.choose("Fill")
    surface.press("Escape")
    surface.choose("road")
    surface.drag((5, 40))
    filled = painted(box, line)
    filled[filled == SKY] = ROAD
    np.testing.assert_array_equal(surface.labels(), filled)


def test_clear_and_restore(surface: Surface) -> None:
    surface.button("Clear to void")
    np.testing.assert_array_equal(surface.labels(), np.full((HEIGHT, WIDTH), VOID))
    surface.button("Restore")
    np.testing.assert_array_equal(surface.labels(), street())


def test_a_pen_paints(surface: Surface) -> None:
    surface.choose("car")
    surface.element.scroll_into_view_if_needed()
    session = surface.page.context.new_cdp_session(surface.page)
    for kind, cell in (("mousePressed", (3, 30)), ("mouseMoved", (3, 34)), ("mouseReleased", (3, 34))):
        x, y = surface.at(*cell)
        event = {"type": kind, "x": x, "y": y, "button": "left", "buttons": 1, "pointerType": "pen", "clickCount": 1}
        session.send("Input.dispatchMouseEvent", event)
    np.testing.assert_array_equal(surface.labels(), painted((slice(2, 5), slice(29, 36), CAR)))


def test_the_keyboard_alone_paints(surface: Surface) -> None:
    for _ in range(30):
        surface.press("Tab")
        if surface.element.evaluate("one => one === document.activeElement"):
            break
    surface.press("3", "[", "[", *["ArrowUp"] * 6, "Shift+ArrowLeft")  # from (16, 32) to (10, 24)
    surface.page.keyboard.down(" ")
    surface.press("ArrowRight", "ArrowRight", "ArrowDown")
    surface.page.keyboard.up(" ")
    stroke = [(10, slice(24, 27), CAR), (11, 26, CAR)]
    np.testing.assert_array_equal(surface.labels(), painted(*stroke))
    surface.element.focus()
    surface.press("r", " ", "ArrowDown", "ArrowRight", " ")
    box = (slice(11, 13), slice(26, 28), CAR)
    np.testing.assert_array_equal(surface.labels(), painted(*stroke, box))
    surface.element.focus()
    surface.press("l", " ", "ArrowDown", "ArrowDown", "Escape")
    np.testing.assert_array_equal(surface.labels(), painted(*stroke, box))


def test_a_finger_paints_and_two_zoom(chromium: Any, served: Served) -> None:
    with opened(chromium, served.url, viewport=PHONE, has_touch=True, is_mobile=True) as page:
        check_fingers(reading(page, served))


def check_fingers(surface: Surface) -> None:
    page, width = surface.page, PHONE["width"]
    assert surface.element.bounding_box()["width"] == width
    assert page.evaluate("document.documentElement.scrollWidth") == width
    surface.choose("car")
    surface.element.scroll_into_view_if_needed()
    session = page.context.new_cdp_session(page)

    def touch(kind: str, *cells: tuple[int, int]) -> None:
        points = [dict(zip("xy", surface.at(*cell), strict=True), id=i) for i, cell in enumerate(cells)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", (8, 20))
    touch("touchMove", (8, 26))
    touch("touchMove", (8, 30))
    touch("touchEnd")
    stroke = (slice(7, 10), slice(19, 32), CAR)
    np.testing.assert_array_equal(surface.labels(), painted(stroke))
    surface.element.scroll_into_view_if_needed()
    touch("touchStart", (8, 40))
    touch("touchStart", (8, 40), (8, 50))
    touch("touchMove", (8, 35), (8, 55))
    touch("touchEnd")
    np.testing.assert_array_equal(surface.labels(), painted(stroke))  # what one of two fingers began is given up
    assert surface.element.bounding_box()["width"] == pytest.approx(2 * width, rel=0.05)


def test_an_object_moves_along_a_path(surface: Surface) -> None:
    surface.choose("Move")
    surface.drag((21, 12), (21, 32), (11, 32))
    (moved,) = surface.read().objects
    assert (moved.label, moved.seed) == (CAR, (21, 12))
    assert moved.path[0] == (0, 21, 12) and moved.path[-1] == (1, 11, 32)
    assert any(point[1:] == (21, 32) and point[0] == pytest.approx(2 / 3) for point in moved.path)
    surface.drag((22, 14), (24, 20))  # a new path for the same car
    (again,) = surface.read().objects
    assert again == Moved(CAR, (22, 14), ((0.0, 22.0, 14.0), (1.0, 24.0, 20.0)))
    surface.button("Undo")
    assert surface.read().objects == (moved,)
    surface.button("Remove the path of car")
    assert surface.read().objects == ()
    surface.button("Undo")
    assert surface.read().objects == (moved,)
    surface.choose("road")
    surface.choose("Rectangle")
    surface.drag((20, 10), (22, 14))
    assert surface.read().objects == ()  # what was painted over is another object


def test_an_object_moves_by_keys(surface: Surface) -> None:
    surface.element.focus()
    surface.press("m", *["ArrowDown"] * 4, *["Shift+ArrowLeft"] * 2, "ArrowLeft", "ArrowLeft")  # to (20, 14)
    surface.press(" ", *["ArrowRight"] * 4, "Enter", *["ArrowDown"] * 4, " ")
    expected = Moved(CAR, (20, 14), ((0.0, 20.0, 14.0), (0.5, 20.0, 18.0), (1.0, 24.0, 18.0)))
    assert surface.read().objects == (expected,)
    surface.element.focus()
    surface.press("Delete")
    assert surface.read().objects == ()


def test_frames_of_a_clip_are_painted_one_by_one(surface: Surface) -> None:
    surface.button("Bring a clip")
    surface.page.wait_for_selector(".lc[data-clip=true]")
    surface.choose("car")
    surface.drag((5, 30))
    expected = np.stack([np.roll(street(), t, axis=1) for t in range(4)])
    expected[1, 4:7, 29:32] = CAR
    painting = surface.read()
    np.testing.assert_array_equal(painting.labels, expected)
    assert painting.frame == 1
    surface.button("Paint later frames alike")
    expected[2:, 4:7, 29:32] = CAR
    np.testing.assert_array_equal(surface.read().labels, expected)
    surface.page.get_by_label("Frame", exact=True).fill("3")
    assert surface.read().frame == 3
    surface.button("Undo")
    expected[2:, 4:7, 29:32] = SKY
    painting = surface.read()
    np.testing.assert_array_equal(painting.labels, expected)
    assert painting.frame == 1 and surface.page.locator(".lc-tool-move").is_hidden()


def test_nothing_is_lost_while_the_canvas_is_hidden(surface: Surface) -> None:
    surface.choose("car")
    surface.drag((5, 20), (5, 40))
    surface.choose("Move")
    surface.drag((21, 12), (25, 40))
    surface.button("Hide")
    surface.element.wait_for(state="detached")
    np.testing.assert_array_equal(surface.labels(), painted((slice(4, 7), slice(19, 42), CAR)))
    surface.button("Show")
    surface.element.wait_for(state="visible")
    assert len(surface.read().objects) == 1
    surface.choose("Eraser")
    surface.drag((5, 20), (5, 30))
    np.testing.assert_array_equal(surface.labels(), painted((slice(4, 7), slice(32, 42), CAR)))
    for _ in range(3):
        surface.button("Undo")
    np.testing.assert_array_equal(surface.labels(), street())


def test_classes_are_filtered_by_typing(surface: Surface) -> None:
    names = surface.page.locator(".lc-list label:visible span")
    assert names.count() == len(CLASSES) and names.nth(3).inner_text() == "far <b>away</b>"
    search = surface.page.get_by_label("Filter the classes by name")
    search.fill("T 1")
    assert names.all_inner_texts() == ["sort 1", "sort 10", "sort 11"]
    search.press("Enter")
    surface.drag((5, 30))
    np.testing.assert_array_equal(surface.labels(), painted((slice(4, 7), slice(29, 32), 101)))
    search.fill("lorry")
    assert surface.page.get_by_text("No class has this in its name").is_visible()


def test_what_a_hostile_client_sends_is_refused_in_words(served: Served) -> None:
    from gradio_client import Client

    client = Client(served.url, verbose=False, analytics_enabled=False)
    value = encode(street(), CLASSES, paths=True)
    before = len(served.paintings)
    for changes, message in (
        ({"frames": ["8 2048"]}, "id 8 is none of the classes"),
        ({"frames": ["7 1 " * 100_000]}, "no list of run lengths"),
        ({"size": [1 << 20, 1 << 20]}, "not 32 by 64"),
        ({"objects": [{"class": 0, "seed": [5, 5], "path": [[0, 5, 5], [1, "NaN", 5]]}]}, "a path is 2 to 512 points"),
    ):
        with pytest.raises(Exception, match=re.escape(message)):
            client.predict(value | changes, api_name="/read")
    client.predict(value, api_name="/read")
    np.testing.assert_array_equal(served.paintings[-1].labels[0], street())
    assert len(served.paintings) == before + 1
    client.close()
