"""Skeletons as tables: which points they have, and how each becomes the ones that everything here draws.

Bodies become BODY_25 of OpenPose (Cao et al. 2019), faces the 68 points of iBUG (Sagonas et al. 2013), hands stay the
21 points of Simon et al. (2017). "Left" and "right" are the person's own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float32]  # (N, 3): x, y [pixels of the frame, centres of pixels are whole numbers], confidence 0..1

BODY_25 = (
    "nose", "neck",
    "right shoulder", "right elbow", "right wrist", "left shoulder", "left elbow", "left wrist",
    "mid hip", "right hip", "right knee", "right ankle", "left hip", "left knee", "left ankle",
    "right eye", "left eye", "right ear", "left ear",
    "left big toe", "left small toe", "left heel", "right big toe", "right small toe", "right heel",
)  # fmt: skip
BODY, HAND, FACE = len(BODY_25), 21, 68  # points of what a person is read as

# Of each point of BODY_25 the points of another skeleton whose mean it is; none: the other skeleton has no such point.
_COCO_18 = (
    (0,), (1,), (2,), (3,), (4,), (5,), (6,), (7,), (8, 11), (8,), (9,), (10,), (11,), (12,), (13,),
    (14,), (15,), (16,), (17,), (), (), (), (), (), (),
)  # fmt: skip
_COCO_17 = (
    (0,), (5, 6), (6,), (8,), (10,), (5,), (7,), (9,), (11, 12), (12,), (14,), (16,), (11,), (13,), (15,),
    (2,), (1,), (4,), (3,), (), (), (), (), (), (),
)  # fmt: skip
_MEDIAPIPE_33 = (
    (0,), (11, 12), (12,), (14,), (16,), (11,), (13,), (15,), (23, 24), (24,), (26,), (28,), (23,), (25,), (27,),
    (5,), (2,), (8,), (7,), (31,), (), (29,), (32,), (), (30,),
)  # fmt: skip
BODIES = {
    25: tuple((point,) for point in range(BODY)),
    18: _COCO_18,
    17: _COCO_17,
    33: _MEDIAPIPE_33,
}

# Of each of the 68 points the vertex of MediaPipe's mesh. Chosen on its contours (face oval, upper rims of the brows,
# eyes, outer and inner lips) as those nearest to dlib's points on real faces, the same on both sides.
_MEDIAPIPE_FACE = (
    127, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 356,  # jaw
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300,  # brows
    168, 197, 5, 4, 98, 97, 2, 326, 327,  # nose
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,  # eyes
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181,  # outer lips
    78, 82, 13, 312, 308, 317, 14, 87,  # inner lips
)  # fmt: skip
FACES = {  # of 70 the last two are pupils, of 478 the last ten irises
    68: tuple(range(FACE)),
    70: tuple(range(FACE)),
    468: _MEDIAPIPE_FACE,
    478: _MEDIAPIPE_FACE,
}

# What each point becomes in a mirror.
MIRRORED_BODY = (0, 1, 5, 6, 7, 2, 3, 4, 8, 12, 13, 14, 9, 10, 11, 16, 15, 18, 17, 22, 23, 24, 19, 20, 21)
MIRRORED_FACE = (
    *range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31,
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
    54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65,
)  # fmt: skip

# The limbs of BODY_25 as (inner end, outer end): a tree from the mid hip.
LIMBS = (
    (8, 1), (1, 0), (0, 15), (15, 17), (0, 16), (16, 18),  # trunk, neck, head
    (1, 2), (2, 3), (3, 4), (1, 5), (5, 6), (6, 7),  # arms
    (8, 9), (9, 10), (10, 11), (8, 12), (12, 13), (13, 14),  # legs
    (11, 24), (11, 22), (22, 23), (14, 21), (14, 19), (19, 20),  # feet
)  # fmt: skip
HEAD_LIMBS = LIMBS[2:6]
FINGERS = tuple((0, *range(first, first + 4)) for first in (1, 5, 9, 13, 17))  # thumb to little finger, from the wrist


def to_body(points: Points) -> Points:
    """The points of any known body skeleton as BODY_25: (25, 3).

    A point between two others (neck, mid hip) has the lower of their confidences, and is missing where one of them is.

    Args:
        points: (N, 3), N one of `BODIES`.
    """
    table = BODIES[len(points)]
    body = np.zeros((BODY, 3), np.float32)
    for index, parts in enumerate(table):
        if parts:
            chosen = points[list(parts)]
            body[index, :2], body[index, 2] = chosen[:, :2].mean(axis=0), chosen[:, 2].min()
    return body


def to_face(points: Points) -> Points:
    """The points of any known face as the 68 of iBUG: (68, 3).

    Args:
        points: (N, 3), N one of `FACES`.
    """
    return points[list(FACES[len(points)])]
