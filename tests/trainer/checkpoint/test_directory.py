"""Checkpoints: bitwise round trips, nothing half written, retention, safe loading, readable refusals."""

import errno
import hashlib
import json
import os
import pickle
import random
import shutil
import time
from pathlib import Path

import pytest
import torch
from torch import nn

import trainer.checkpoint.directory as module
from tests.helpers.forking import fork
from trainer.checkpoint.contents import meta_text
from trainer.checkpoint.directory import Checkpoints
from trainer.checkpoint.trained import load_weights
from trainer.errors import CheckpointError, ConfigError


def trained(seed=0):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 2))
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(3):
        model(torch.randn(8, 4)).square().sum().backward()
        optimizer.step()
    return model, optimizer


def everything():
    model, optimizer = trained()
    return {
        "networks": {"g": model.state_dict()},
        "optim": {"g": optimizer.state_dict()},
        "rng": torch.get_rng_state(),
        "plain": [1, -(2**70), 0.1, 1e-320, -0.0, float("inf"), True, None, "ü\n", (1, (2.5,)), [], {}, ()],
        "keys": {0: "zero", "0": "text", (1, 2): 3, "$tensor": "not one"},
        "a": {"b/c": torch.ones(1)},
        "a/b": {"c": torch.zeros(1)},
        "half": torch.randn(3).bfloat16(),
        "nan": torch.tensor([float("nan"), -0.0]),
        "scalar": torch.tensor(7),
        "empty": torch.zeros(0, 3),
        "flags": torch.tensor([True, False]),
        "view": torch.arange(12.0).view(3, 4)[:, 1:3],
        "last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "complex": torch.randn(2, dtype=torch.complex64),
        "parameter": nn.Parameter(torch.ones(2)),
    }


def assert_bitwise(a, b, path="state"):
    assert type(a) is type(b) or (isinstance(a, dict | torch.Tensor) and isinstance(b, dict | torch.Tensor)), path
    if isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype and a.shape == b.shape, path
        assert _raw(a) == _raw(b), path
    elif isinstance(a, dict):
        assert list(a) == list(b), path
        for key in a:
            assert_bitwise(a[key], b[key], f"{path}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), path
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_bitwise(x, y, f"{path}.{i}")
    else:
        assert repr(a) == repr(b), path


def _raw(tensor):
    return bytes(tensor.detach().contiguous().view(-1).view(torch.uint8).tolist()) if tensor.numel() else b""


def write(run, step, keep=2, value=None, **meta):
    model, _ = trained()
    state = {"step": step, "x": torch.full((4,), float(step if value is None else value))}
    return Checkpoints(run, keep).save(step, state, model.state_dict(), None, meta)


def names(run):
    return sorted(p.name for p in (Path(run) / "checkpoints").iterdir())


def test_state_comes_back_bitwise(tmp_path):
    state = everything()
    checkpoints = Checkpoints(tmp_path)
    path = checkpoints.save(12, state, {}, None, {"config": {"lr": 0.1}})
    assert path == tmp_path / "checkpoints" / "step-00000012"
    loaded, meta = checkpoints.load(path)
    assert_bitwise(state, loaded)
    assert meta == {"config": {"lr": 0.1}, "step": 12}


def test_a_resumed_optimiser_continues_bitwise(tmp_path):
    model, optimizer = trained()
    path = Checkpoints(tmp_path).save(
        1, {"m": model.state_dict(), "o": optimizer.state_dict()}, model.state_dict(), None, {}
    )
    state, _ = Checkpoints(tmp_path).load(path)
    other, second = trained(seed=9)
    other.load_state_dict(state["m"])
    second.load_state_dict(state["o"])
    for net, steps in ((model, optimizer), (other, second)):
        torch.manual_seed(1)
        steps.zero_grad()
        net(torch.randn(8, 4)).sum().backward()
        steps.step()
    assert_bitwise(model.state_dict(), other.state_dict())
    assert_bitwise(optimizer.state_dict(), second.state_dict())


def test_a_template_is_filled_in_place(tmp_path):
    path = write(tmp_path, 3)
    target = {"step": 0, "x": torch.zeros(4)}
    state, _ = Checkpoints(tmp_path).load(path, template=lambda place, *_: target[place])
    assert state["x"].data_ptr() == target["x"].data_ptr() and target["x"].tolist() == [3.0] * 4
    with pytest.raises(CheckpointError, match=r"'x' is \(4,\) in the checkpoint and \(5,\) here"):
        Checkpoints(tmp_path).load(path, template=lambda *_: torch.zeros(5))


def test_a_state_without_tensors(tmp_path):
    path = Checkpoints(tmp_path).save(0, {"a": [1, {"b": None}]}, {}, None, {})
    assert Checkpoints(tmp_path).load(path)[0] == {"a": [1, {"b": None}]}


def test_what_is_not_plain_is_refused_by_place(tmp_path):
    with pytest.raises(TypeError, match=r"'task/3/when' is pathlib\.PosixPath"):
        Checkpoints(tmp_path).save(1, {"task": [1, 2, 3, {"when": Path("x")}]}, {}, None, {})
    assert not (tmp_path / "checkpoints").exists()


def test_retention_keeps_the_newest(tmp_path):
    for step in (5, 10, 15, 20):
        write(tmp_path, step)
    assert names(tmp_path) == ["latest", "step-00000015", "step-00000020"]
    assert (tmp_path / "checkpoints/latest").read_text() == "step-00000020\n"
    write(tmp_path, 25, keep=1)
    assert names(tmp_path) == ["latest", "step-00000025"]
    with pytest.raises(ConfigError, match=r"trainer\.keep=0"):
        Checkpoints(tmp_path, 0)


def test_a_left_past_goes_before_the_new_one(tmp_path):
    for step in (100, 200):
        write(tmp_path, step)
    path = write(tmp_path, 150)  # resumed from 100 on purpose
    assert names(tmp_path) == ["latest", "step-00000100", "step-00000150"]
    assert Checkpoints(tmp_path).latest() == path


def test_the_same_step_is_replaced(tmp_path):
    write(tmp_path, 4)
    path = write(tmp_path, 4, value=8)
    assert Checkpoints(tmp_path).load(path)[0]["x"].tolist() == [8.0] * 4
    assert names(tmp_path) == ["latest", "step-00000004"]


@pytest.mark.parametrize("place", ["save_tensors", "save_weights", "write_flushed", "flush_folder", "os.replace"])
def test_an_exception_while_saving_leaves_the_previous_one(tmp_path, monkeypatch, place):
    previous = write(tmp_path, 1)

    def fail(*args, **kwargs):
        raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(f"trainer.checkpoint.directory.{place}", fail)
        with pytest.raises(RuntimeError, match="power cut"):
            write(tmp_path, 2)
    found = Checkpoints(tmp_path).latest()
    assert found is not None and Checkpoints(tmp_path).load(found)[0]["step"] in (1, 2)
    if place != "os.replace":  # there the new one was already complete
        assert found == previous
    assert not [n for n in names(tmp_path) if n.startswith("step") and n.endswith(".tmp")]
    write(tmp_path, 3)
    assert Checkpoints(tmp_path).load(Checkpoints(tmp_path).latest())[0]["step"] == 3


def test_being_killed_while_replacing_the_same_step_loses_nothing(tmp_path, monkeypatch):
    write(tmp_path, 1)
    rename = Path.rename

    def killed(self, target):
        if self.name == "step-00000001.tmp":
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "rename", killed)
        write(tmp_path, 1, value=9)
    found = Checkpoints(tmp_path).latest()
    assert found is not None and found.name == "step-00000001.old"
    assert Checkpoints(tmp_path).load(found)[0]["x"].tolist() == [1.0] * 4
    write(tmp_path, 2)
    write(tmp_path, 3)
    assert names(tmp_path) == ["latest", "step-00000002", "step-00000003"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("place", ["save_tensors", "save_weights", "write_flushed"])
def test_no_space_left_says_how_much_and_keeps_the_previous(tmp_path, monkeypatch, place, number):
    previous = write(tmp_path, 1)

    def full(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(f"trainer.checkpoint.directory.{place}", full)
    with pytest.raises(CheckpointError, match=r"no space left .* needs 1\.0 MiB, .* are free\. step-00000001 is still"):
        write(tmp_path, 2)
    assert Checkpoints(tmp_path).latest() == previous
    assert names(tmp_path) == ["latest", "step-00000001"]


def test_no_space_is_noticed_before_writing(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    monkeypatch.setattr(module, "save_tensors", lambda *a: pytest.fail("must not start writing"))
    with pytest.raises(CheckpointError, match=r"0\.0 MiB are free\. No earlier checkpoint"):
        write(tmp_path, 2)
    assert names(tmp_path) == []


def test_errors_of_the_writers_are_recognised():
    from torch.distributed.checkpoint.api import CheckpointException

    wrapped = CheckpointException("save", {1: (OSError(errno.ENOSPC, "No space left on device"), [])})
    assert module.os_error(wrapped).errno == errno.ENOSPC
    rust = RuntimeError('IoError(Os { code: 28, kind: StorageFull, message: "No space left on device" })')
    assert module.os_error(rust).errno == errno.ENOSPC
    zip_writer = RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0")
    assert module.os_error(zip_writer).errno == errno.ENOSPC
    assert module.os_error(ValueError("else")) is None


def _save_for_ever(run):
    for step in range(1, 10_000):
        write(run, step)


@pytest.mark.slow
def test_sigkill_at_any_moment_leaves_a_whole_checkpoint(tmp_path):
    chance = random.Random(0)
    for _ in range(12):
        process = fork(_save_for_ever, tmp_path)
        time.sleep(chance.uniform(0.05, 0.25))
        process.kill()
        process.join()
        found = Checkpoints(tmp_path).latest()
        if found is not None:
            state, meta = Checkpoints(tmp_path).load(found)
            assert state["x"].tolist() == [float(meta["step"])] * 4 and state["step"] == meta["step"]
            assert load_weights(tmp_path)[1]["step"] == meta["step"]
    write(tmp_path, 10_000)
    found = Checkpoints(tmp_path).latest()
    assert found is not None and found.name == "step-00010000"
    assert not [name for name in names(tmp_path) if name.endswith((".tmp", ".old"))]


def test_of_a_replaced_step_the_newer_one_stays(tmp_path):
    shutil.copytree(write(tmp_path, 3, value=1), old := tmp_path / "checkpoints/step-00000003.old")
    path = write(tmp_path / "other", 3, value=2)
    shutil.rmtree(old.with_suffix(""))
    shutil.copytree(path, old.with_suffix(""))
    Checkpoints(tmp_path).tidy()
    assert Checkpoints(tmp_path).load(old.with_suffix(""))[0]["x"][0] == 2 and not old.exists()


def test_what_a_kill_left_while_a_step_was_replaced_is_tidied(tmp_path):
    """Between its renames, or in the middle of removing the one that had waited."""
    write(tmp_path, 1, keep=9, value=1)
    (tmp_path / "checkpoints/step-00000001").rename(tmp_path / "checkpoints/step-00000001.old")
    write(tmp_path, 2, keep=9)
    shutil.copytree(tmp_path / "checkpoints/step-00000002", tmp_path / "checkpoints/step-00000002.old")
    (tmp_path / "checkpoints/step-00000002.old/meta.json").unlink()
    Checkpoints(tmp_path).tidy()  # at the start of a run that goes on, and before anything is written
    assert names(tmp_path) == ["latest", "step-00000001", "step-00000002"]
    assert write(tmp_path, 3, keep=9) == Checkpoints(tmp_path).latest()
    assert names(tmp_path) == ["latest", "step-00000001", "step-00000002", "step-00000003"]
    assert Checkpoints(tmp_path).load(tmp_path / "checkpoints/step-00000001")[0]["step"] == 1


@pytest.mark.parametrize("damage", ["truncated", "missing", "meta", "no meta"])
def test_damaged_checkpoints_do_not_count(tmp_path, damage):
    good = write(tmp_path, 1)
    bad = write(tmp_path, 2)
    if damage == "truncated":
        file = next((bad / "state").glob("*.distcp"))
        file.write_bytes(file.read_bytes()[:-5])
    elif damage == "missing":
        (bad / "weights.safetensors").unlink()
    elif damage == "meta":
        (bad / "meta.json").write_text('{"step": 2, "fi')
    else:
        (bad / "meta.json").unlink()
    assert Checkpoints(tmp_path).latest() == good
    with pytest.raises(CheckpointError, match=r"cannot resume from .*step-00000002"):
        Checkpoints(tmp_path).load(bad)


def test_nothing_to_resume_from(tmp_path):
    assert Checkpoints(tmp_path).latest() is None
    (tmp_path / "checkpoints/step-00000003.tmp").mkdir(parents=True)
    assert Checkpoints(tmp_path).latest() is None
    with pytest.raises(CheckpointError, match="no such directory"):
        Checkpoints(tmp_path).load(tmp_path / "nowhere")


def test_the_newest_counts_when_the_pointer_is_lost(tmp_path):
    write(tmp_path, 1)
    path = write(tmp_path, 2)
    (tmp_path / "checkpoints/latest").unlink()
    assert Checkpoints(tmp_path).latest() == path
    (tmp_path / "checkpoints/latest").write_bytes(b"\xff\xfe")
    assert Checkpoints(tmp_path).latest() == path


def test_leftovers_are_cleaned_at_the_next_save(tmp_path):
    stale = tmp_path / "checkpoints/step-00000009.tmp"
    stale.mkdir(parents=True)
    (stale / "x").write_text("half")
    write(tmp_path, 10)
    assert names(tmp_path) == ["latest", "step-00000010"]


class Evil:
    def __reduce__(self):
        return (os.system, ("touch /tmp/vivid-was-here",))


def test_foreign_code_is_never_executed(tmp_path):
    path = write(tmp_path, 1)
    content = pickle.dumps(Evil())
    metadata = path / "state" / ".metadata"
    metadata.write_bytes(content)
    meta = json.loads((path / "meta.json").read_text())
    sizes, digests = meta.pop("files") | {"state/.metadata": len(content)}, meta.pop("digests")
    digests["state/.metadata"] = hashlib.sha256(content).hexdigest()  # whoever sends code sends what fits it
    del meta["digest"]
    (path / "meta.json").write_text(meta_text(meta, sizes, digests))
    with pytest.raises(CheckpointError, match="system has no place"):
        Checkpoints(tmp_path).load(path)
    torch.save({"weight": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match="cannot be loaded safely"):
        load_weights(tmp_path / "evil.pth")
    assert not Path("/tmp/vivid-was-here").exists()


def test_weights_and_ema_from_everywhere(tmp_path):
    weights = {"g.w": torch.randn(3, 2), "g.b": torch.randn(2).bfloat16()}
    ema = {name: tensor * 2 for name, tensor in weights.items()}
    path = Checkpoints(tmp_path).save(6, {}, weights, ema, {"classes": ["a"]})
    for place in (tmp_path, path):
        found, meta = load_weights(place)
        assert_bitwise(ema, dict(sorted(found.items(), reverse=True)))
        assert meta == {"classes": ["a"], "step": 6}
        assert torch.equal(load_weights(place, ema=False)[0]["g.w"], weights["g.w"])
    found, meta = load_weights(path / "weights.safetensors")
    assert torch.equal(found["g.w"], weights["g.w"]) and meta["step"] == 6
    torch.save(weights, tmp_path / "flat.pth")
    torch.save({"epoch": 3, "state_dict": weights}, tmp_path / "nested.pth")
    for name in ("flat.pth", "nested.pth"):
        found, meta = load_weights(tmp_path / name)
        assert_bitwise(weights, found)
        assert meta == {}


def test_without_ema_the_weights_are_used(tmp_path):
    path = write(tmp_path, 1)
    assert load_weights(path, ema=True)[0].keys() == trained()[0].state_dict().keys()


def test_tied_and_sliced_weights_are_written_whole(tmp_path):
    base = torch.randn(4, 4)
    path = Checkpoints(tmp_path).save(1, {}, {"a": base, "b": base, "c": base[1:3], "d": base.t()}, None, {})
    found, _ = load_weights(path)
    assert torch.equal(found["b"], base) and torch.equal(found["c"], base[1:3]) and torch.equal(found["d"], base.t())


def test_unusable_weights_files_are_named(tmp_path):
    def refused(path, match):
        with pytest.raises(CheckpointError, match=match):
            load_weights(path)

    refused(tmp_path / "no.pth", r"no\.pth does not exist")
    refused(tmp_path, "no finished checkpoint")
    (tmp_path / "page.safetensors").write_text("<html>")
    refused(tmp_path / "page.safetensors", "not a readable safetensors")
    (tmp_path / "page.pth").write_text("<html>")
    refused(tmp_path / "page.pth", "cannot be loaded safely")
    (tmp_path / "empty.pth").write_bytes(b"")
    refused(tmp_path / "empty.pth", "cannot be loaded safely")
    torch.save({"epoch": 1, "lr": 0.1}, tmp_path / "other.pth")
    refused(tmp_path / "other.pth", "no state dict but a dict of epoch, lr")
    torch.save([1], tmp_path / "list.pth")
    refused(tmp_path / "list.pth", "no state dict but list")
