"""Every call that takes a file apart stands in one table: a reader that is added says here what bounds it."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

from tests.helpers.paths import ROOT

CALLS = (
    *("torch.load", "torch.jit.load", "torch.export.load", "np.load", "np.memmap", "np.fromfile", "json.load"),
    *("json.loads", "yaml.load", "yaml.safe_load", "yaml.full_load", "yaml.unsafe_load", "yaml.parse", "Image.open"),
    *("cv2.imdecode", "cv2.imread", "av.open", "csv.reader", "csv.DictReader", "tarfile.open", "zipfile.ZipFile"),
    *("gzip.open", "bz2.open", "lzma.open", "OmegaConf.load", "shelve.open", "marshal.loads", "marshal.load"),
)
# By their last part, whatever they are called on
NAMES = (
    *("safe_open", "load_file", "from_pretrained", "load_dataset", "load_from_disk", "from_file", "InferenceSession"),
    *("Unpickler", "urlopen", "urlretrieve", "load_state_dict_from_url", "hf_hub_download", "snapshot_download"),
    *("extractfile", "extractall", "read_table", "ParquetFile", "read_parquet", "loadmat", "read_csv", "decode_jpeg"),
    *("decode_png", "decode_image", "read_image", "read_video", "get_yaml_loader", "unpack_archive", "literal_eval"),
)
FOUND = {
    # Weights: restricted unpickler, sizes held against bytes
    "torch.load": {"trainer/checkpoint/weights.py"},
    "load_file": {"trainer/checkpoint/weights.py", "vit/evaluate/asked.py"},  # the second is ours, of that name
    "safe_open": {"vid2vid/segmenter/file.py", "vit/weights/files.py"},  # headers of files that were read
    # A program: only as video_features=torchscript:FILE on the command line, and what export has just written
    "torch.jit.load": {"vid2vid/evaluate/video_features.py"},
    "torch.export.load": {"trainer/export/graph.py"},
    "InferenceSession": {"trainer/export/graph.py", "vid2vid/benchmark/exported.py"},
    # Arrays and archives
    "np.load": {"trainer/untrusted/arrays.py"},
    "np.memmap": {"vit/data/cache.py"},  # plain bytes, in a cache of the user's own
    "zipfile.ZipFile": {
        "trainer/untrusted/arrays.py",
        "trainer/untrusted/limits.py",  # sizes held against bytes, as whoever reads names only asks it to
        "vid2vid/page/handlers.py",  # writes
        "vid2vid/page/upload.py",
        "vit/weights/files.py",
    },
    "tarfile.open": {"vit/benchmark/data.py", "vit/data/sources/shard_index.py"},  # the first writes
    "extractfile": {"vit/data/sources/shard_index.py"},  # into memory, of regular members that lie within the file
    # Texts
    "json.loads": {
        "trainer/untrusted/plain_json.py",
        "trainer/benchmark/sections.py",  # what its own processes say, as the next four
        "trainer/parallel/agreement.py",
        "trainer/parallel/failure.py",
        "trainer/parallel/watch.py",
        "vid2vid/prepare/people/detector.py",
        "trainer/checkpoint/weights.py",
        "trainer/checkpoint/contents.py",  # what is about to be written
    },
    "yaml.parse": {"trainer/untrusted/plain_yaml.py"},
    "get_yaml_loader": {"trainer/untrusted/plain_yaml.py"},
    "OmegaConf.load": {"trainer/config/resolve.py"},  # our own configs/
    "literal_eval": {"vit/data/sources/labels.py"},  # a cell that is a list of classes, in Python's notation
    "csv.reader": {"trainer/data/labels/colour_tables.py", "vit/data/sources/flat.py", "vit/data/sources/text.py"},
    "csv.DictReader": {"vid2vid/preference/votes.py", "vit/data/clips/lists.py"},
    # Pictures and films: trust.max_pixels before anything is decoded
    "Image.open": {
        "trainer/data/pictures/guarded.py",
        "vid2vid/data/labels/convert.py",  # what it wrote itself, as the next
        "vit/analysis/corruptions/digital.py",
    },
    "cv2.imdecode": {"trainer/data/pictures/opening.py", "vid2vid/flow/estimate.py"},
    "decode_jpeg": {
        "trainer/data/pictures/decode.py",
        "vit/benchmark/data.py",  # pictures of its own
        "vit/data/decoding/on_device.py",  # those that partial_jpeg.py has looked at
    },
    "decode_png": {"trainer/data/pictures/opening.py"},
    "av.open": {
        "trainer/data/video/decode.py",
        "trainer/records/video_writer.py",  # writes
        "vid2vid/generate/demo.py",  # what it has just written
    },
    # Libraries with readers of their own, which are told to run no code of the folder
    "from_pretrained": {
        "vid2vid/evaluate/video_features.py",
        "vid2vid/prepare/networks.py",
        "vit/export/libraries.py",  # what export has just written
    },
    "load_dataset": {"vit/data/sources/hub.py"},
    "load_from_disk": {"vit/data/sources/hub.py"},
    "from_file": {"vit/data/sources/hub.py"},
}


def calls(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            last = called.rpartition(".")[2]
            found |= {called} & set(CALLS) | {last} & set(NAMES)
    return found


def test_no_reader_is_new() -> None:
    found: dict[str, set[str]] = defaultdict(set)
    for room in ("trainer", "vit", "vid2vid", "scripts"):
        for path in (ROOT / room).rglob("*.py"):
            for call in calls(path):
                found[call].add(path.relative_to(ROOT).as_posix())
    assert dict(found) == FOUND, "say in SECURITY.md and in this table what bounds the reader"


def test_local_folders_of_transformers_run_no_code() -> None:
    """Without the word transformers asks at the terminal whether it shall run what lies in the folder."""
    for name in FOUND["from_pretrained"]:
        for node in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("from_pretrained"):
                given = {word.arg or ast.unparse(word.value) for word in node.keywords}
                if name == "vit/export/libraries.py":
                    continue  # a folder of our own
                concrete = ast.unparse(node.func) == "model.from_pretrained"  # V-JEPA 2 itself, which looks for no code
                assert concrete or "trust_remote_code" in given or "_LOCAL" in given, ast.unparse(node)
    text = (ROOT / "vid2vid/prepare/networks.py").read_text(encoding="utf-8")
    assert '"trust_remote_code": False' in text and "trust_remote_code=True" not in text
