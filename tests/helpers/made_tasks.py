"""Task files as MediaPipe 1.x wants them, out of the networks that come with the wheel of 0.10.21.

Those lack what a task file says of its input: how pixels are normalised. It is added here. The wheel's networks of
faces have other outputs than the task's, so there is no file of faces.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

_PROGRAM = """
import os, sys, zipfile
import mediapipe
from mediapipe.tasks.python.metadata.metadata_writers import metadata_writer

modules = os.path.join(os.path.dirname(mediapipe.__file__), "modules")

def told(path, mean, std):
    with open(os.path.join(modules, path), "rb") as file:
        writer = metadata_writer.MetadataWriter.create(bytearray(file.read()))
    writer.add_image_input([mean], [std])
    return bytes(writer.populate()[0])

for name, members in {
    "pose_landmarker": {"pose_detector": ("pose_detection/pose_detection", 127.5, 127.5),
                        "pose_landmarks_detector": ("pose_landmark/pose_landmark_full", 0.0, 255.0)},
    "hand_landmarker": {"hand_detector": ("palm_detection/palm_detection_full", 0.0, 255.0),
                        "hand_landmarks_detector": ("hand_landmark/hand_landmark_full", 0.0, 255.0)},
}.items():
    with zipfile.ZipFile(os.path.join(sys.argv[1], name + ".task"), "w", zipfile.ZIP_STORED) as bundle:
        for member, (path, mean, std) in members.items():
            bundle.writestr(member + ".tflite", told(path + ".tflite", mean, std))
"""


def made_tasks(folder: Path, python: Path) -> Path:
    """Write the task files of bodies and hands.

    Args:
        folder: where to; it is made.
        python: of `make people-tools`.
    Returns:
        The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run([str(python), "-I", "-c", _PROGRAM, str(folder)], check=True, capture_output=True)
    return folder
