"""The flow cache: keys, damage, several writers, a full or read-only disk."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.helpers.forking import fork
from vid2vid.config import DataConfig, FlowMethod
from vid2vid.flow.cache import FlowCache, flow_settings

SIZE = (5, 7)


def made(value: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    confidence = torch.zeros(1, *SIZE, dtype=torch.uint8)
    confidence[0, 1, 2:] = 1
    return torch.full((2, *SIZE), value, dtype=torch.float16), confidence


def never() -> tuple[torch.Tensor, torch.Tensor]:
    raise AssertionError("computed though it was stored")


def test_stored_flow_is_what_was_computed(tmp_path):
    cache = FlowCache(tmp_path / "new" / "cache", "settings")
    first = cache.get("b", "a", SIZE, made)
    again = FlowCache(tmp_path / "new" / "cache", "settings").get("b", "a", SIZE, never)
    for one, other, expected in zip(first, again, made(), strict=True):
        assert torch.equal(one, expected) and torch.equal(other, expected) and other.dtype == expected.dtype
    assert not list(tmp_path.rglob("*.tmp"))


def test_other_frames_order_or_settings_are_other_entries(tmp_path):
    cache = FlowCache(tmp_path, "settings")
    paths = {cache.path("b", "a"), cache.path("a", "b"), cache.path("ab", ""), FlowCache(tmp_path, "x").path("b", "a")}
    assert len(paths) == 4


def test_settings_tell_method_size_and_weights(tmp_path):
    weights = tmp_path / "raft.pth"
    weights.write_bytes(b"1")
    texts = {
        flow_settings(DataConfig(flow=FlowMethod.dis), (8, 16)),
        flow_settings(DataConfig(flow=FlowMethod.dis), (16, 16)),
        flow_settings(DataConfig(flow=FlowMethod.farneback), (8, 16)),
        flow_settings(DataConfig(flow=FlowMethod.raft, flow_weights="torchvision"), (8, 16)),
        flow_settings(DataConfig(flow=FlowMethod.raft, flow_weights=str(weights)), (8, 16)),
    }
    weights.write_bytes(b"22")
    texts.add(flow_settings(DataConfig(flow=FlowMethod.raft, flow_weights=str(weights)), (8, 16)))
    assert len(texts) == 6
    dis = DataConfig(flow=FlowMethod.dis, flow_weights="ignored")
    assert flow_settings(dis, (8, 16)) in texts


@pytest.mark.parametrize("damage", ["cut", "empty", "junk", "other size"])
def test_damaged_entries_are_computed_again(damage, tmp_path, caplog):
    cache = FlowCache(tmp_path, "settings")
    cache.get("b", "a", SIZE, made)
    path = cache.path("b", "a")
    data = path.read_bytes()
    if damage == "other size":
        flow, _ = cache.get("b", "a", (4, 7), lambda: (made()[0][:, :4], made()[1][:, :4]))
        assert flow.shape == (2, 4, 7)
    else:
        path.write_bytes({"cut": data[: len(data) // 2], "empty": b"", "junk": b"PK" + b"x" * 500}[damage])
        assert torch.equal(cache.get("b", "a", SIZE, lambda: made(2.0))[0], made(2.0)[0])
        assert torch.equal(cache.get("b", "a", SIZE, never)[0], made(2.0)[0])
    assert "damaged entry" in caplog.text and path.name in caplog.text


def test_an_unwritable_cache_is_said_once_and_done_without(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    cache = FlowCache(tmp_path / "file", "settings")
    for _ in range(3):
        assert torch.equal(cache.get("b", "a", SIZE, made)[0], made()[0])
    assert caplog.text.count("cannot be written") == 1 and "data.flow_cache" in caplog.text


def _many(folder: Path) -> None:
    cache = FlowCache(folder, "settings")
    for i in range(30):
        flow, _ = cache.get(str(i % 5), "a", SIZE, lambda value=i % 5: made(value))
        assert torch.equal(flow, made(i % 5)[0])


def test_several_processes_share_a_cache(tmp_path, caplog):
    workers = [fork(_many, tmp_path) for _ in range(3)]
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert len(list(tmp_path.rglob("*.npz"))) == 5 and not list(tmp_path.rglob("*.tmp"))
