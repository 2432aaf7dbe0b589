"""The other end of `detector.py`: finds people in frames with MediaPipe, a process of its own.

Run by the Python of `make people-tools`, or another that has MediaPipe; it has nothing of this package:
`python -I detect.py PEOPLE [POSE FACE HANDS]`, "-" for a file that is not there. Without files it is MediaPipe
0.10.21's Holistic, whose networks come with it and find one person. With files, MediaPipe's Tasks of any version find
as many people as are asked for.

It says in a line of JSON that it is ready, then answers every frame that comes in on stdin until that ends. A frame is
two int32, height and width, and its RGB pixels; height 0 is no frame: what comes next follows nothing before it. The
answer is, for each of PEOPLE, `POINTS` float32 triples (x, y in pixels, confidence 0..1; all 0 where nothing was found)
of body, left hand, right hand and face, then the matte, uint8 (h, w), 255 where people are.
"""

from __future__ import annotations

import json
import os
import sys

import numpy as np

PARTS = {"body": 33, "left": 21, "right": 21, "face": 478}  # landmarks of each, in the order of the answer
POINTS = sum(PARTS.values())
_BODY, _LEFT, _RIGHT, _FACE = (slice(a, b) for a, b in ((0, 33), (33, 54), (54, 75), (75, 553)))
_NOSE, _LEFT_SHOULDER, _RIGHT_SHOULDER, _LEFT_WRIST, _RIGHT_WRIST = 0, 11, 12, 15, 16  # of the body
_MS = 40  # between two frames, as MediaPipe's tracking is told; it uses their order alone


def main() -> None:
    """Answer until stdin ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not come between the answers
    import mediapipe  # pyright: ignore[reportMissingImports]

    people, files = int(sys.argv[1]), sys.argv[2:]
    engine = Tasks(mediapipe, people, files) if files else Holistic(mediapipe)
    answers.write(json.dumps({"mediapipe": mediapipe.__version__}).encode() + b"\n")
    answers.flush()
    requests = sys.stdin.buffer
    while True:
        head = requests.read(8)
        if len(head) < 8:
            return
        height, width = (int(value) for value in np.frombuffer(head, np.int32))
        if height == 0:
            engine.forget()
            continue
        pixels = np.frombuffer(requests.read(height * width * 3), np.uint8).reshape(height, width, 3)
        points, matte = engine.find(pixels)
        answers.write(points.astype(np.float32).tobytes())
        answers.write(np.clip(np.rint(matte * 255.0), 0, 255).astype(np.uint8).tobytes())
        answers.flush()


class Holistic:
    """MediaPipe 0.10.21's: one person, with the networks of its wheel."""

    def __init__(self, mediapipe) -> None:  # which is not here to be named
        self._network = mediapipe.solutions.holistic.Holistic(
            static_image_mode=False,
            model_complexity=1,  # the one whose weights are in the wheel
            smooth_landmarks=False,  # smoothed over the whole film, later
            enable_segmentation=True,
            smooth_segmentation=True,
            refine_face_landmarks=True,  # with irises: 478 points in place of 468
        )

    def forget(self) -> None:
        """What comes next follows nothing before it."""
        self._network.reset()

    def find(self, pixels: np.ndarray):
        """(1, POINTS, 3) and the matte, 0..1 (h, w), of RGB uint8 (h, w, 3)."""
        size = pixels.shape[:2]
        found = self._network.process(pixels)
        points = np.zeros((1, POINTS, 3))
        lists = (
            (_BODY, found.pose_landmarks),
            (_LEFT, found.left_hand_landmarks),
            (_RIGHT, found.right_hand_landmarks),
            (_FACE, found.face_landmarks),
        )
        for place, landmarks in lists:
            if landmarks is not None:
                points[0, place] = triples(landmarks.landmark, size, place == _BODY)
        matte = found.segmentation_mask
        return points, np.zeros(size) if matte is None else matte


class Tasks:
    """MediaPipe's Tasks: so many people, with networks of bodies, faces and hands from files."""

    def __init__(self, mediapipe, people: int, files) -> None:
        from mediapipe.tasks.python import BaseOptions, vision  # pyright: ignore[reportMissingImports]

        pose, face, hand = files

        def base(path: str):
            return {"base_options": BaseOptions(model_asset_path=path), "running_mode": vision.RunningMode.VIDEO}

        self._people, self._image = people, mediapipe.Image
        self._format = mediapipe.ImageFormat.SRGB
        self._makers = [
            lambda: vision.PoseLandmarker.create_from_options(
                vision.PoseLandmarkerOptions(num_poses=people, output_segmentation_masks=True, **base(pose))
            )
        ]
        if face != "-":
            options = vision.FaceLandmarkerOptions(num_faces=people, **base(face))
            self._makers.append(lambda: vision.FaceLandmarker.create_from_options(options))
        if hand != "-":
            options_of_hands = vision.HandLandmarkerOptions(num_hands=2 * people, **base(hand))
            self._makers.append(lambda: vision.HandLandmarker.create_from_options(options_of_hands))
        self._faces = face != "-"
        self._networks = [make() for make in self._makers]
        self._fresh, self._time = True, 0
        self._before = np.zeros((people, POINTS, 3))

    def forget(self) -> None:
        """What comes next follows nothing before it."""
        if self._fresh:
            return
        for network in self._networks:
            network.close()
        self._networks = [make() for make in self._makers]
        self._fresh, self._time = True, 0
        self._before = np.zeros_like(self._before)

    def find(self, pixels: np.ndarray):
        """(people, POINTS, 3) and the matte, 0..1 (h, w), of RGB uint8 (h, w, 3)."""
        size = pixels.shape[:2]
        image = self._image(image_format=self._format, data=np.ascontiguousarray(pixels))
        found = [network.detect_for_video(image, self._time) for network in self._networks]
        self._fresh, self._time = False, self._time + _MS
        bodies = [triples(one, size, True) for one in found[0].pose_landmarks]
        rest = found[1:]
        faces = [triples(one, size, False) for one in rest.pop(0).face_landmarks] if self._faces else []
        hands = [triples(one, size, False) for one in rest.pop(0).hand_landmarks] if rest else []
        self._before = following(together(bodies, faces, hands, self._people), self._before)
        matte = np.zeros(size)
        for mask in found[0].segmentation_masks or []:
            matte = np.maximum(matte, mask.numpy_view().reshape(size))
        return self._before, matte


def together(bodies, faces, hands, people: int) -> np.ndarray:
    """Bodies with the face nearest to the nose and the hands nearest to the wrists; faces without a body after them.

    Args:
        bodies, faces, hands: lists of (n, 3).
        people: how many there may be.
    Returns:
        (people, POINTS, 3).
    """
    points = np.zeros((people, POINTS, 3))
    for slot, body in enumerate(bodies[:people]):
        points[slot, _BODY] = body
    used = len(bodies[:people])
    for face in faces:
        width = np.ptp(face[:, 0])
        free = [slot for slot in range(used) if not points[slot, _FACE, 2].any()]
        slot = _nearest(face[:, :2].mean(0), [points[slot, _NOSE, :2] for slot in free], width)
        if slot is not None:
            points[free[slot], _FACE] = face
        elif used < people:
            points[used, _FACE] = face
            used += 1
    wrists = [(slot, wrist, place) for slot in range(len(bodies[:people]))
              for wrist, place in ((_LEFT_WRIST, _LEFT), (_RIGHT_WRIST, _RIGHT))]  # fmt: skip
    for hand in hands:
        free = [each for each in wrists if not points[each[0], each[2], 2].any()]
        shoulders = [points[slot, _LEFT_SHOULDER, :2] - points[slot, _RIGHT_SHOULDER, :2] for slot, *_ in free]
        reach = max((float(np.linalg.norm(each)) for each in shoulders), default=0.0) / 2
        index = _nearest(hand[0, :2], [points[slot, wrist, :2] for slot, wrist, _ in free], reach)
        if index is not None:
            slot, _, place = free[index]
            points[slot, place] = hand
    return points


def following(points: np.ndarray, before: np.ndarray) -> np.ndarray:
    """The people in the order of the frame before: nearest first, and newcomers where nobody was."""
    out = np.zeros_like(points)
    here = [slot for slot in range(len(points)) if points[slot, :, 2].any()]
    there = [slot for slot in range(len(points)) if before[slot, :, 2].any()]
    pairs = sorted((float(np.linalg.norm(_centre(points[a]) - _centre(before[b]))), a, b) for a in here for b in there)
    taken = {}
    for _, a, b in pairs:
        if a not in taken and b not in taken.values():
            taken[a] = b
    empty = [slot for slot in range(len(points)) if slot not in taken.values()]
    for a in here:
        out[taken[a] if a in taken else empty.pop(0)] = points[a]
    return out


def triples(landmarks, size, has_visibility: bool) -> np.ndarray:
    """(n, 3) of MediaPipe's landmarks: x and y in pixels, and confidence.

    Its 0 and 1 are a picture's borders; here whole numbers are the middles of pixels. A visibility of 0 becomes a
    little more: 0 says that nothing was found.
    """
    rows = [(p.x, p.y, max(p.visibility or 0.0, 1e-3) if has_visibility else 1.0) for p in landmarks]
    return np.array(rows) * (size[1], size[0], 1) - (0.5, 0.5, 0)


def _centre(person: np.ndarray) -> np.ndarray:
    return person[person[:, 2] > 0, :2].mean(0)


def _nearest(point, others, reach: float):
    """The index of the nearest of other points that is no farther than `reach`, or None."""
    distances = [float(np.linalg.norm(point - other)) for other in others]
    best = int(np.argmin(distances)) if distances else -1
    return best if best >= 0 and distances[best] <= reach else None


if __name__ == "__main__":
    main()
