"""Play an exported generator: python play.py street.onnx SOURCE [OUT]

SOURCE is a folder of pictures (label maps whose values are the ids, where the run was trained on labels), a film or the
number of a camera. OUT is a folder for PNGs; without it frames are shown in a window, until Ctrl-C.
"""

import json
import re
import sys
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from PIL import Image


def numbered(path):  # frame2 before frame10
    return [int(part) if number % 2 else part for number, part in enumerate(re.split("([0-9]+)", path.name))]


def pictures(source, labels):
    if Path(source).is_dir():
        known = [path for path in Path(source).glob("[!.]*") if path.suffix.lower() in Image.registered_extensions()]
        for path in sorted(known, key=numbered):
            image = Image.open(path)  # ids are the numbers of a palette, not its colours
            yield np.asarray(image) if labels else np.asarray(image.convert("RGB"))[..., ::-1]
        return
    film = cv2.VideoCapture(int(source) if source.isdecimal() else source)
    while (read := film.read())[0]:
        yield read[1]


def condition(picture, about, size):
    if about["condition"] == "labels":
        ids = cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST).astype(np.int32)
        return {"labels": ids, "instances": ids}
    picture = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))  # as in training
    if about["condition"] == "edges":
        grey = cv2.GaussianBlur(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), (5, 5), 1.0)
        return {"source": cv2.Canny(grey, *about["edge_thresholds"])[None]}
    picture = picture if about["channels"][1:] else cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    return {"source": np.atleast_3d(picture)[..., ::-1].transpose(2, 0, 1)}


def play(model, source, out=None):
    about = json.loads(Path(model + ".json").read_text(encoding="utf-8"))
    if about["condition"] == "labels and pictures":
        sys.exit(f"{model} sees label maps and pictures together, and this player gives it one of them")
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    feed = {entry["name"]: np.zeros(entry["example_shape"], entry["type"]) for entry in about["inputs"]}
    feed |= {"past_known": np.array([about["first_frame"] == "zeros"])} if "past_known" in feed else {}
    for number, picture in enumerate(pictures(source, about["condition"] == "labels")):
        for name, new in condition(picture, about, about["resolution"][::-1]).items():
            if name in feed:  # of frames before the first one: what the first one has
                old = feed[name][:, 1:] if number else np.repeat(new[None, None], about["past_frames"], axis=1)
                feed[name] = np.concatenate((old, new[None, None]), axis=1)
        made = dict(zip((entry["name"] for entry in about["outputs"]), session.run(None, feed), strict=True))
        feed |= {name.removeprefix("next_"): value for name, value in made.items() if name.startswith("next_")}
        feed |= {name: np.array([True]) for name in ("past_known", "past_warped") if name in feed}
        frame = np.rint((made["frame"][0] + 1) * 127.5).clip(0, 255).astype(np.uint8).transpose(1, 2, 0)[..., ::-1]
        if out is None:
            cv2.imshow(model, frame)
            cv2.waitKey(1)
        else:
            Path(out).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(Path(out, f"{number:06d}.png")), frame)


if __name__ == "__main__":
    play(*sys.argv[1:])
