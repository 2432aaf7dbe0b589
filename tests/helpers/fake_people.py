"""A stand-in for MediaPipe's process: it speaks the same protocol, and finds a person where a frame is bright."""

from __future__ import annotations

import sys
from pathlib import Path

_PROGRAM = """
import json, os, sys
import numpy as np
sys.stdout.buffer.write(json.dumps({"mediapipe": "none"}).encode() + b"\\n")
sys.stdout.buffer.flush()
count = 0
while True:
    head = sys.stdin.buffer.read(8)
    if len(head) < 8:
        break
    h, w = np.frombuffer(head, np.int32)
    if h == 0:
        continue
    pixels = np.frombuffer(sys.stdin.buffer.read(int(h * w * 3)), np.uint8).reshape(h, w, 3)
    count += 1
    if count == DIES:
        print("the graph ran away", file=sys.stderr)
        sys.exit(7)
    points = np.zeros((POINTS, 3), np.float32)
    if pixels.mean() > 40:
        points[:] = (pixels[:, :, 0].mean() / 8, h / 2, 1)
        points[33:54] = 0
        if FIGURE:
            points[:33, :2] = np.array(FIGURE) * (w, h)
    sys.stdout.buffer.write(points.tobytes() + (pixels[..., 0] // 2).astype(np.uint8).tobytes())
    sys.stdout.buffer.flush()
"""


# Shares of width and height: head; shoulders, elbows, wrists; hands; hips, knees, ankles, feet; left, right in turn.
_STANDING = [(0.5, 0.1)] * 11 + [(0.6, 0.25), (0.4, 0.25), (0.65, 0.4), (0.35, 0.4), (0.65, 0.55), (0.35, 0.55)]
_STANDING += [(0.65, 0.57), (0.35, 0.57)] * 3 + [(0.56, 0.55), (0.44, 0.55), (0.56, 0.75), (0.44, 0.75)]
_STANDING += [(0.56, 0.93), (0.44, 0.93), (0.56, 0.96), (0.44, 0.96), (0.58, 0.96), (0.42, 0.96)]


def fake_people(folder: Path, dies: int = -1, standing: bool = False) -> Path:
    """An interpreter for `people_python=`: right hand, body and face where the mean of a frame is above 40, at
    x = mean of red / 8 and y = half the height, no left hand; the matte is half of red.

    Args:
        folder: where it is made.
        standing: a body with limbs, upright in the middle of the frame, in place of one point.
        dies: it ends with code 7 at its frame of this number, from 1.
    """
    program, python = folder / "fake_detect.py", folder / "fake_python"
    text = _PROGRAM.replace("POINTS", "553").replace("DIES", str(dies))
    program.write_text(text.replace("FIGURE", repr(_STANDING if standing else [])))
    python.write_text(f"#!/bin/sh\nexec {sys.executable} {program}\n")
    python.chmod(0o755)
    return python
