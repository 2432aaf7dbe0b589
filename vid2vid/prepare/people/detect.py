"""The other end of `detector.py`: finds people in frames with MediaPipe 0.10.21's Holistic, a process of its own.

Run by the Python of `make people-tools`, which has MediaPipe and NumPy below 2, and nothing of this package:
`python -I detect.py`. It says in a line of JSON that it is ready, then answers every frame that comes in on stdin until
that ends. A frame is two int32, height and width, and its RGB pixels; height 0 is no frame: what comes next follows
nothing before it. The answer is `POINTS` float32 triples (x, y in pixels, confidence 0..1; all 0 where nothing was
found) of body, left hand, right hand and face, then the matte, uint8 (h, w), 255 where the person is.
"""

from __future__ import annotations

import json
import os
import sys

import numpy as np

PARTS = {"body": 33, "left": 21, "right": 21, "face": 478}  # landmarks of each, in the order of the answer
POINTS = sum(PARTS.values())


def main() -> None:
    """Answer until stdin ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not come between the answers
    import mediapipe  # pyright: ignore[reportMissingImports]

    holistic = mediapipe.solutions.holistic.Holistic(
        static_image_mode=False,
        model_complexity=1,  # the one whose weights are in the wheel
        smooth_landmarks=False,  # smoothed over the whole film, later
        enable_segmentation=True,
        smooth_segmentation=True,
        refine_face_landmarks=True,  # with irises: 478 points in place of 468
    )
    answers.write(json.dumps({"mediapipe": mediapipe.__version__}).encode() + b"\n")
    answers.flush()
    requests = sys.stdin.buffer
    while True:
        head = requests.read(8)
        if len(head) < 8:
            return
        height, width = (int(value) for value in np.frombuffer(head, np.int32))
        if height == 0:
            holistic.reset()
            continue
        pixels = np.frombuffer(requests.read(height * width * 3), np.uint8).reshape(height, width, 3)
        points, matte = found(holistic.process(pixels), height, width)
        answers.write(points.tobytes() + matte.tobytes())
        answers.flush()


def found(result, height: int, width: int):  # of MediaPipe's, which is not here to be named
    """What Holistic says of a frame, as an answer.

    Returns:
        float32 (POINTS, 3), uint8 (height, width).
    """
    lists = (
        result.pose_landmarks, result.left_hand_landmarks, result.right_hand_landmarks, result.face_landmarks
    )  # fmt: skip
    rows = []
    for name, landmarks in zip(PARTS, lists):  # noqa: B905  # Python 3.9 has no strict
        rows += _triples(landmarks, PARTS[name], name == "body", height, width)
    mask = result.segmentation_mask
    matte = np.zeros((height, width)) if mask is None else mask
    return np.array(rows, np.float32), np.clip(np.rint(matte * 255.0), 0, 255).astype(np.uint8)


def _triples(landmarks, count: int, has_visibility: bool, height: int, width: int):
    """(x, y, confidence) of each. MediaPipe's 0 and 1 are the borders, here whole numbers are pixels' middles."""
    if landmarks is None:
        return [(0.0, 0.0, 0.0)] * count
    return [
        (
            point.x * width - 0.5,
            point.y * height - 0.5,
            max(point.visibility, 1e-3) if has_visibility else 1.0,  # 0 would say that it was not found
        )
        for point in landmarks.landmark
    ]


if __name__ == "__main__":
    main()
