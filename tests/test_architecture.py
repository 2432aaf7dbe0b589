"""The house rules: imports run downward, the trainer knows no model, modules explain themselves and stay light."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

PACKAGES = [name for name in ("trainer", "vid2vid", "vit") if (ROOT / name).is_dir()]
MODULES = sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))
TOP = [ROOT / "train.py", *sorted((ROOT / "scripts").glob("*.py"))]
TESTS = sorted((ROOT / "tests").rglob("*.py"))
# of tests' folders: what is done to whole runs, what tests share, and what needs a card whatever it tests
NO_MIRROR = ("faults", "fuzz", "helpers", "gpu")

# package: what it may not import. The two tasks stand side by side, on the trainer; scripts and train.py on top.
ABOVE = {
    "trainer": {"vid2vid", "vit", "train", "scripts"},
    "vid2vid": {"vit", "train", "scripts"},
    "vit": {"vid2vid", "train", "scripts"},
}

ELSEWHERE = {"mediapipe"}  # in the environment of `make people-tools`, and the process that runs there

IMPORTS = (ast.Import, ast.ImportFrom)
IMPORTED_AS = {"hydra-core": "hydra", "pillow": "PIL", "opencv-python-headless": "cv2", "scikit-learn": "sklearn"}

GAN_WORDS = re.compile(
    r"\b(gans?|lsgan|discriminators?|adversarial|hallucinat\w+|foreground|vid2vid\w*|pix2pix\w*|vits?|vit_\w+"
    r"|d_image|d_video|ngf|ndf)\b",
    re.IGNORECASE,
)

UNPICKLERS = {f"{module}.{name}" for module in ("pickle", "dill") for name in ("load", "loads", "Unpickler")}

# Read before torch is: --help, configuration errors, and what a script checks before it starts working.
LIGHT = ["train", "trainer", "trainer.config.arguments", "trainer.cli", "trainer.config.fields",
         "trainer.config.resolve",
         "trainer.errors", "trainer.config.help", "trainer.config.overrides", "trainer.config.schema", "trainer.task",
         "trainer.validate", "vid2vid", "vid2vid.config", "vid2vid.validate", "vit", "vit.config", "vit.validate",
         "vit.model.variants"]  # fmt: skip


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found.add(node.module or "")
    return found


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def test_there_is_something_to_check() -> None:
    assert len(MODULES) > 20 and PACKAGES[:2] == ["trainer", "vid2vid"]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_run_downward(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    upward = {name for name in imports(parse(path)) if name.split(".")[0] in ABOVE[package]}
    assert not upward


def test_every_import_is_declared() -> None:
    """What packages and scripts import is in pyproject.toml; what an extra brings is imported inside functions only.

    The rooms of the page are themselves imported inside functions: gradio reads types from their modules.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    def names(requirements: list[str]) -> set[str]:
        found = {re.split(r"[^\w-]", requirement)[0].lower() for requirement in requirements}
        return {IMPORTED_AS.get(name, name.replace("-", "_")) for name in found}

    core = names(project["dependencies"]) | {"yaml"}  # PyYAML comes with OmegaConf
    extras = names([item for group in project["optional-dependencies"].values() for item in group])
    ours = {*PACKAGES, "train", "_setup"}
    for path in [*MODULES, *TOP]:
        tree = parse(path)
        roots = {name.split(".")[0] for name in imports(tree)} - set(sys.stdlib_module_names) - ours - ELSEWHERE
        assert roots <= core | extras, name_of(path)
        at_top = {name.split(".")[0] for node in tree.body for name in imports(node) if isinstance(node, IMPORTS)}
        assert not at_top & (extras - core - ({"gradio"} if path.parent.name == "page" else set())), name_of(path)


@pytest.mark.parametrize("path", [path for path in MODULES if path.is_relative_to(ROOT / "trainer")], ids=name_of)
def test_the_trainer_knows_no_model(path: Path) -> None:
    lines = enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
    assert not [f"{number}: {line}" for number, line in lines if GAN_WORDS.search(line)]


@pytest.mark.parametrize("path", [*MODULES, *TOP], ids=name_of)
def test_every_module_has_a_docstring(path: Path) -> None:
    assert len((ast.get_docstring(parse(path)) or "").strip()) > 20


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_public_functions_and_classes_are_explained(path: Path) -> None:
    def silent(body: list[ast.stmt], prefix: str = "") -> list[str]:
        return [
            prefix + node.name
            for node in body
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
            and not node.name.startswith("_")
            and not ast.get_docstring(node)
            and not _is_self_explaining(node)
        ]

    assert not silent(parse(path).body)


def _is_self_explaining(node: ast.FunctionDef | ast.ClassDef) -> bool:
    """Tables of choices or settings (their fields have comments), and functions of at most three statements."""
    if isinstance(node, ast.ClassDef):
        return all(isinstance(item, ast.Assign | ast.AnnAssign) for item in node.body)
    return len(node.body) <= 3


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_packages_do_not_print(path: Path) -> None:
    calls = [node for node in ast.walk(parse(path)) if isinstance(node, ast.Call)]
    prints = [node.lineno for node in calls if isinstance(node.func, ast.Name) and node.func.id == "print"]
    assert not prints, "use logging; only scripts print"


@pytest.mark.parametrize("path", [*MODULES, *TOP, *TESTS], ids=name_of)
def test_files_are_read_in_one_sitting(path: Path) -> None:
    most = 400 if path in TESTS else 350
    assert len(path.read_text(encoding="utf-8").splitlines()) <= most, "a second idea wants a file of its own"


def test_sources_are_named_not_sections_of_notes() -> None:
    """A reader has the papers and the released code, not the notes that the project was written from."""
    product = [*MODULES, *TOP, *ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "configs").rglob("*.yaml")]
    assert len(product) > 250
    found = re.compile(r"\(spec\b|\bspec \d", re.IGNORECASE)
    assert [name_of(path) for path in product if found.search(path.read_text(encoding="utf-8"))] == []


def test_nothing_executable_is_loaded() -> None:
    """No unpickling but by a class that restricts what may come in: checkpoints and configurations are data."""
    for path in [*MODULES, *TOP]:
        text = path.read_text(encoding="utf-8")
        assert "weights_only=False" not in text, name_of(path)
        for call in (node for node in ast.walk(parse(path)) if isinstance(node, ast.Call)):
            called = ast.unparse(call.func)
            assert called not in UNPICKLERS, f"{name_of(path)}:{call.lineno}"
            if called == "torch.load":
                arguments = {word.arg: ast.unparse(word.value) for word in call.keywords}
                assert arguments.get("weights_only") == "True", f"{name_of(path)}:{call.lineno}"


def test_light_modules_load_no_torch() -> None:
    heavy = ("torch", "torchvision", "timm", "cv2", "av", "numpy", "tensorboard", "matplotlib")
    program = (
        "import importlib, sys\n"
        f"for name in {LIGHT!r}: importlib.import_module(name)\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", [path for path in TOP[1:] if not path.name.startswith("_")], ids=name_of)
def test_scripts_import_their_setup_first(path: Path) -> None:
    """Which makes threads passive before anything could bring torch."""
    first = next(node for node in parse(path).body[1:] if imports(node) != {"__future__"})
    assert imports(first) == {"_setup"}


def test_verbs_are_light_and_have_scripts() -> None:
    """What the table of tasks names is there, loads no torch, and is what the script of that name asks for."""
    from train import TASKS

    verbs = {module for entry in TASKS.values() for module in entry.verbs.values()}
    program = (
        f"import importlib, sys\nfor name in {verbs!r}: importlib.import_module(name)\nprint('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert {verb for entry in TASKS.values() for verb in entry.verbs} <= {path.stem for path in TOP}


@pytest.mark.parametrize("path", [path for path in TOP[1:] if path.name != "demo.py"], ids=name_of)
def test_scripts_name_no_task(path: Path) -> None:
    """They ask the table in train.py. Of demo.py a task is the subject, of convert_labels.py its data."""
    tasks = {name.split(".")[0] for name in imports(parse(path)) if not name.startswith("vid2vid.data.labels.convert")}
    assert not tasks & {"vit", "vid2vid"}


def test_the_tests_mirror_the_packages() -> None:
    """A test stands where its module does: test_MODULE.py, or test_IDEA.py in the folder of all that it is about."""
    for path in TESTS:
        folder = path.parent.relative_to(ROOT / "tests")
        if folder.parts[:1] in [(name,) for name in NO_MIRROR]:
            continue
        assert path.name.startswith("test_") or path.name in ("conftest.py", "__init__.py"), f"{path}: a helper"
        is_package = (ROOT / folder / "__init__.py").exists() or folder.parts[:1] in [(), ("configs",), ("scripts",)]
        assert is_package, f"{name_of(path)}: there is no package {folder}"


def test_a_test_named_after_a_module_stands_where_it_does() -> None:
    """When a module moves, its test moves along; the name of an idea is no module's of that package."""
    for package in PACKAGES:
        known = {path.stem: path for path in (ROOT / package).rglob("*") if path.suffix in ("", ".py")}
        for path in (ROOT / "tests" / package).rglob("test_*.py"):
            name, room = path.stem.removeprefix("test_"), ROOT / path.parent.relative_to(ROOT / "tests")
            there = (room / f"{name}.py").exists() or (room / name).is_dir() or name not in known
            assert there, f"{name_of(path)}: {name} is now {name_of(known.get(name, path))}"


def test_tests_share_helpers_only() -> None:
    """What two test files need stands in tests/helpers, by its full name; faults and fuzzing have their own beside."""
    for path in TESTS:
        ours = {name for name in imports(parse(path)) if name.split(".")[0] == "tests"}
        rig = path.parent.name in ("faults", "fuzz")
        shared = ("tests.helpers", f"tests.{path.parent.name}") if rig else ("tests.helpers",)
        assert all(name.startswith(shared) for name in ours), name_of(path)
