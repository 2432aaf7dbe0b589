"""A run of a stranger: its config.yaml decides neither what is read of the environment nor where is written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from train import SCHEMAS
from trainer.cli import compose, load_run
from trainer.config.resolve import plain
from trainer.errors import ConfigError
from trainer.untrusted.limits import MAX_PIXELS, max_pixels


def stored(folder: Path, model: str, **data: Any) -> tuple[Path, dict[str, Any]]:
    content = plain(compose([f"model={model}"], SCHEMAS))
    content["data"].update(data)
    return folder, content


def write(run: Path, content: dict[str, Any]) -> Path:
    run.mkdir(exist_ok=True)
    (run / "config.yaml").write_text(yaml.safe_dump(content))
    return run


@pytest.mark.parametrize(
    "given", ["${oc.env:SECRET}", "${oc.decode:'[1]'}", "${hydra:runtime.cwd}", "${name}", "x${seed}"]
)
def test_no_interpolation_is_resolved(tmp_path: Path, given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    run, content = stored(tmp_path / "run", "vit_mu", root=given)
    with pytest.raises(ConfigError, match=r"config\.yaml: data\.root=.*not resolved.*write the value") as caught:
        load_run(write(run, content), SCHEMAS)
    assert "hunter2" not in str(caught.value) and given in str(caught.value)


def test_unknown_keys_like_targets_are_refused(tmp_path: Path) -> None:
    run, content = stored(tmp_path / "run", "vit_mu", _target_="os.system")
    with pytest.raises(ConfigError, match="_target_"):
        load_run(write(run, content), SCHEMAS)


@pytest.mark.parametrize("model", ["vit_mu", "vid2vid_tiny"])
def test_caches_elsewhere_are_used_where_there_are_any(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What the user's own training wrote there is; a stranger's run makes nothing outside of the working folder."""
    work, there = tmp_path / "work", tmp_path / "scratch"
    work.mkdir()
    monkeypatch.chdir(work)
    run, content = stored(work / "run", model, video_cache=str(there))
    write(run, content)
    assert load_run(run, SCHEMAS).data.video_cache == ".cache/video"
    assert f"data.video_cache='{there}'" in caplog.text and "give data.video_cache=PATH" in caplog.text
    assert load_run(run, SCHEMAS, [f"data.video_cache={there}"]).data.video_cache == str(there)
    there.mkdir()
    (there / "thesis.tex").touch()
    assert load_run(run, SCHEMAS).data.video_cache == ".cache/video"
    os.replace(there / "thesis.tex", work / "thesis.tex")
    (there / "ab").mkdir()
    assert load_run(run, SCHEMAS).data.video_cache == str(there)
    content["data"]["video_cache"] = "../scratch2"
    assert load_run(write(run, content), SCHEMAS).data.video_cache == ".cache/video"
    content["data"]["video_cache"] = "caches/mine"
    assert load_run(write(run, content), SCHEMAS).data.video_cache == "caches/mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scratch", "work"]


def test_what_files_may_only_the_command_line_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIVID_MAX_PIXELS", str(MAX_PIXELS))
    run, content = stored(tmp_path / "run", "vit_mu")
    content["trust"] = {"max_pixels": 10**12, "paths_outside": True}
    config = load_run(write(run, content), SCHEMAS)
    assert (config.trust.max_pixels, config.trust.paths_outside, max_pixels()) == (MAX_PIXELS, False, MAX_PIXELS)
    config = load_run(run, SCHEMAS, ["trust.max_pixels=4000000000", "trust.paths_outside=true"])
    assert (config.trust.max_pixels, config.trust.paths_outside) == (4 * 10**9, True)
    assert max_pixels() == 4 * 10**9


def test_a_cache_within_a_group_of_a_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    run, content = stored(tmp_path / "run", "vit_mu")
    content["data"]["remote"]["cache_dir"] = str(tmp_path / "home")
    assert load_run(write(run, content), SCHEMAS).data.remote.cache_dir == ".cache/remote"
    assert "data.remote.cache_dir" in caplog.text
    given = f"data.remote.cache_dir={tmp_path}"
    assert load_run(run, SCHEMAS, [given]).data.remote.cache_dir == str(tmp_path)
    for name in ("objects", "partial", "locks", "listings"):
        (tmp_path / "home" / name).mkdir(parents=True)
    (tmp_path / "home" / "total").touch()
    assert load_run(run, SCHEMAS).data.remote.cache_dir == str(tmp_path / "home")


def test_where_credentials_go_only_the_command_line_says(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """hf:// sends its token to ``endpoint``, gs:// to ``endpoint_url``; ``token`` may name a file."""
    run, content = stored(tmp_path / "run", "vit_mu")
    content["data"]["remote"]["options"] = {"endpoint": "http://127.0.0.1:9", "token": "/etc/passwd", "anon": True}
    assert load_run(write(run, content), SCHEMAS).data.remote.options == {"anon": True}
    assert "(endpoint, token): not taken" in caplog.text and "+data.remote.options.endpoint=VALUE" in caplog.text
    given = load_run(run, SCHEMAS, ["+data.remote.options.endpoint=https://ours"]).data.remote.options
    assert given == {"anon": True, "endpoint": "https://ours"}
    content["data"]["remote"]["options"] = {"token": "anon"}
    assert load_run(write(run, content), SCHEMAS).data.remote.options == {"token": "anon"}


@pytest.mark.parametrize("digits", [400, 3000])
def test_whole_numbers_that_no_float_can_be(digits: int, tmp_path: Path) -> None:
    run, content = stored(tmp_path / "run", "vit_mu")
    content["seed"] = content["optim"]["main"]["lr"] = int("9" * digits)
    with pytest.raises(ConfigError, match=r"(?s)lr=9+: must be finite.*seed=9+: must lie below|seed=9+: .*lr=9+: "):
        load_run(write(run, content), SCHEMAS)
