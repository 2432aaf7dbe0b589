"""The run directory's records: repair after a crash, TensorBoard, console lines, silence of other ranks."""

import errno
import json
import logging
import os
import resource
import signal
import sys
import threading
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tqdm import tqdm

from tests.helpers.forking import fork
from trainer.records.console_lines import format_line, format_time, short_line
from trainer.records.lines import Lines
from trainer.records.logger import RunLogger, repair_metrics


def records(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def begun(run, config="", resume=0, **options):
    logger = RunLogger(run, **options)
    logger.begin(config, resume)
    return logger


def events(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(run / "tensorboard"), size_guidance={"images": 0, "scalars": 0})
    found.Reload()
    return found


def test_run_directory(tmp_path):
    run = tmp_path / "runs" / "x"
    with begun(run, "name: x\n", tensorboard=False) as logger:
        logger.text("hello")
        logging.getLogger("some.module").warning("careful: %d", 3)
        logger.scalars({"step": 1})
    assert (run / "config.yaml").read_text() == "name: x\n"
    assert (run / "samples").is_dir() and not (run / "tensorboard").exists()
    lines = (run / "train.log").read_text().splitlines()
    assert [line[20:] for line in lines] == ["hello", "careful: 3"]
    logger.close()  # twice does no harm
    logging.getLogger("some.module").warning("not any more")
    assert len((run / "train.log").read_text().splitlines()) == 2


def test_until_a_run_begins_it_leaves_records_alone(tmp_path):
    with begun(tmp_path, "name: first\n", tensorboard=False) as logger:
        logger.scalars({"step": 1})
    with RunLogger(tmp_path, tensorboard=False) as logger:
        logger.text("cannot start")
        logger.flush()
    assert (tmp_path / "config.yaml").read_text() == "name: first\n" and records(tmp_path) == [{"step": 1}]
    assert "cannot start" in (tmp_path / "train.log").read_text()


def test_text_reaches_the_console(tmp_path, capsys):
    with begun(tmp_path, tensorboard=False) as logger:
        logger.text("step 1 | loss 2")
    assert capsys.readouterr().out == "step 1 | loss 2\n"


def test_records_are_plain_json_at_once(tmp_path):
    with begun(tmp_path, tensorboard=False) as logger:
        logger.scalars(
            {
                "step": 3,
                "stage": "base",
                "losses": {"a": torch.tensor(0.5), "b": float("nan")},
                "list": [1, torch.tensor(2)],
                "lr": 1e-4,
            }
        )
        assert records(tmp_path) == [
            {"step": 3, "stage": "base", "losses": {"a": 0.5, "b": None}, "list": [1, 2], "lr": 1e-4}
        ]


def test_no_line_is_lost_while_the_disk_is_full(tmp_path, capsys):
    with begun(tmp_path, tensorboard=False) as logger:
        logger.scalars({"step": 1})
        there = logger._metrics._file
        with Path("/dev/full").open("ab", buffering=0) as full:
            logger._metrics._file = full
            logger.scalars({"step": 2})
            logger.scalars({"step": 3})
            with pytest.raises(OSError, match=r"No space left on device: .*metrics\.jsonl"):
                logger.flush()  # no checkpoint without them
        assert [record["step"] for record in records(tmp_path)] == [1]
        logger._metrics._file = there
        logger.flush()
        logger.scalars({"step": 4})
    assert [record["step"] for record in records(tmp_path)] == [1, 2, 3, 4]
    assert capsys.readouterr().out.count("metrics.jsonl: No space left on device; its lines wait in memory") == 1


def test_a_line_that_does_not_fit_leaves_no_part_of_it(tmp_path):
    def fill() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
        lines = Lines(tmp_path / "lines")
        assert lines.add("a" * 59) is None
        error = lines.add("b" * 59)
        assert error is not None and error.errno == errno.EFBIG
        assert (tmp_path / "lines").read_text() == "a" * 59 + "\n"
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        assert lines.add("c") is None

    process = fork(fill)
    process.join()
    assert process.exitcode == 0
    assert (tmp_path / "lines").read_text() == "a" * 59 + "\n" + "b" * 59 + "\nc\n"


def test_training_goes_on_without_pictures_where_none_can_be_written(tmp_path, capsys):
    (tmp_path / "samples").write_text("in the way")
    with RunLogger(tmp_path, 0, tensorboard=False) as logger:
        for step in (1, 2):
            logger.visuals({"x": torch.zeros(4, 4, 3, dtype=torch.uint8)}, step)
        (tmp_path / "samples").unlink()
        (tmp_path / "samples").mkdir()
        logger.visuals({"x": torch.zeros(4, 4, 3, dtype=torch.uint8)}, 3)
    assert capsys.readouterr().out.count("samples: File exists; left out until it can be") == 1
    assert [path.name for path in (tmp_path / "samples").iterdir()] == ["x-00000003.png"]


def write(run, resume, steps):
    with begun(run, resume=resume, tensorboard=False) as logger:
        for step in steps:
            logger.scalars({"step": step, "loss": 1 / step})


def test_a_resumed_run_leaves_the_same_records(tmp_path):
    write(tmp_path / "whole", 0, range(1, 13))
    run = tmp_path / "killed"
    write(run, 0, range(1, 8))  # the last checkpoint is at step 4
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 8, "lo')
    write(run, 4, range(5, 10))
    write(run, 8, range(9, 13))
    assert records(run) == records(tmp_path / "whole")
    assert (run / "metrics.jsonl").read_bytes() == (tmp_path / "whole" / "metrics.jsonl").read_bytes()
    write(run, 0, [1])  # started anew
    assert [r["step"] for r in records(run)] == [1]


@settings(deadline=None, max_examples=40)
@given(done=st.integers(0, 12), cut=st.integers(0, 400), resume=st.integers(1, 12))
def test_any_cut_is_repaired(tmp_path_factory, done, cut, resume):
    path = tmp_path_factory.mktemp("cut") / "metrics.jsonl"
    lines = [json.dumps({"step": step, "loss": 0.1}) + "\n" for step in range(1, done + 1)]
    path.write_text("".join(lines)[:cut] if cut < 400 else "".join(lines))
    complete = [line for line in path.read_text().splitlines(keepends=True) if line in lines or line + "\n" in lines]
    repair_metrics(path, resume)
    kept = path.read_text()
    expected = [line.rstrip("\n") for line in complete if json.loads(line)["step"] <= resume]
    assert kept.splitlines() == expected
    assert not kept or kept.endswith("\n")


def test_an_evaluation_that_the_checkpoint_does_not_know_of_is_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    records = [{"step": 3}, {"step": 3, "eval": {"a": 1}}, {"step": 6}, {"step": 6, "eval": {"a": 2}}]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    repair_metrics(path, 6, evaluated=3)
    assert [json.loads(line) for line in path.read_text().splitlines()] == records[:3]
    repair_metrics(path, 6, evaluated=6)
    assert len(path.read_text().splitlines()) == 3


def test_repair_of_nothing(tmp_path):
    repair_metrics(tmp_path / "metrics.jsonl", 3)
    assert list(tmp_path.iterdir()) == []


def test_scalars_reach_tensorboard_and_do_not_overlap(tmp_path):
    for resume, steps in ((0, range(1, 7)), (3, range(4, 9))):
        with begun(tmp_path, resume=resume) as logger:
            for step in steps:
                logger.scalars({"step": step, "losses": {"g": step + resume / 10}, "stage": "s", "ok": True})
    found = events(tmp_path)
    assert found.Tags()["scalars"] == ["losses/g"]
    seen = [(e.step, round(e.value, 3)) for e in found.Scalars("losses/g")]
    assert seen == [(1, 1), (2, 2), (3, 3), (4, 4.3), (5, 5.3), (6, 6.3), (7, 7.3), (8, 8.3)]


def test_pictures_and_videos_reach_disk_and_tensorboard(tmp_path):
    video = torch.randint(0, 256, (4, 16, 24, 3), dtype=torch.uint8)
    with begun(tmp_path) as logger:
        logger.visuals({"val/still": video[0], "roll out": video}, step=12)
    assert sorted(p.name for p in (tmp_path / "samples").iterdir()) == [
        "roll-out-00000012.mp4",
        "val-still-00000012.png",
    ]
    found = events(tmp_path)
    assert set(found.Tags()["images"]) == {"val/still", "roll out"}
    (image,) = found.Images("roll out")
    assert (image.step, image.width, image.height) == (12, 24, 16)
    import io

    gif = Image.open(io.BytesIO(image.encoded_image_string))
    assert gif.format == "GIF" and gif.n_frames == 4 and gif.size == (24, 16)


def test_videos_can_stay_out_of_tensorboard(tmp_path):
    with begun(tmp_path, videos=False) as logger:
        logger.visuals({"x": torch.zeros(4, 4, 3, dtype=torch.uint8)}, step=1)
    assert (tmp_path / "samples" / "x-00000001.png").exists() and not (tmp_path / "tensorboard").exists()


def test_tensorboard_is_imported_only_when_used(tmp_path):
    import subprocess

    code = (
        "import sys; from trainer.records.logger import RunLogger\n"
        f"with RunLogger({str(tmp_path)!r}) as logger: logger.text('hi'); logger.progress(1, 10, 1)\n"
        "assert not [m for m in sys.modules if m.startswith('tensorboard')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_other_ranks_are_silent(tmp_path, capsys):
    run = tmp_path / "r"
    with begun(run, "x", rank=1) as logger:
        logger.text("no")
        logger.scalars({"step": 1})
        logger.progress(1, 10, 1)
        logger.visuals({"x": torch.zeros(4, 4, 3, dtype=torch.uint8)}, 1)
        logger.flush()
    assert not run.exists()
    assert capsys.readouterr() == ("", "")


def test_plain_progress_lines_carry_an_eta(tmp_path, capsys, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    with begun(tmp_path, tensorboard=False) as logger:
        for samples in range(0, 1001, 10):
            logger.progress(samples // 2, 1000, samples)
            now[0] += 1.0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4, "one line in 30 s, and one at the end"
    assert lines[0] == "30 % step 150, 300 samples, 10 samples/s, ETA 1:10"
    assert lines[-1].startswith("100 % step 500, 1000 samples") and lines[-1].endswith("ETA 0 s")


def test_progress_is_a_bar_on_a_terminal(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with begun(tmp_path, tensorboard=False) as logger:
        logger.progress(0, 100, 0, rate=5.0)
        logger.progress(5, 100, 50, rate=5.0)
        assert logger._progress.bar.n == 50
        logger.text("a line above the bar")
        logger.progress(6, 100, 60, rate=5.0)
        shown = logger._progress.bar.format_meter(**logger._progress.bar.format_dict)
    assert "60/100 samples" in shown and "ETA 8 s" in shown and "step 6" in shown
    captured = capsys.readouterr()
    assert "a line above the bar" in captured.out and "samples" in captured.err


def lock_is_free() -> bool:
    """Whether another thread can take tqdm's lock, as its monitor does when the process ends."""

    def take() -> None:
        with tqdm.get_lock():
            pass

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    thread.join(10)
    return not thread.is_alive()


@pytest.mark.parametrize("bar", [False, True])
def test_a_run_outlives_its_console(tmp_path, monkeypatch, bar):
    """Ctrl-C ends the ``tee`` behind a pipe too: what is written then must not keep a run from its last checkpoint."""
    reader, writer = os.pipe()
    os.close(reader)
    stream = os.fdopen(writer, "w")
    monkeypatch.setattr(stream, "isatty", lambda: bar, raising=False)
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    with begun(tmp_path, tensorboard=False) as logger:
        for step in (1, 2):
            logger.progress(step, 2, step, rate=5.0)
            logger.text(f"step {step}")
            logger.scalars({"step": step})
    stream.close()  # the interpreter flushes it at exit, which failed again
    assert lock_is_free(), "the end of the process would wait for it"
    kept = [line.split(" ", 2)[2] for line in (tmp_path / "train.log").read_text().splitlines()]
    assert [line for line in kept if line.startswith("step")] == ["step 1", "step 2"]
    assert len([line for line in kept if "nobody reads the console any more (Broken pipe)" in line]) == 1
    assert [record["step"] for record in records(tmp_path)] == [1, 2]


def test_lines_are_compact():
    record = {
        "step": 40,
        "samples_seen": 80,
        "stage": "coarse",
        "losses": {"g_gan": 0.512345, "d": torch.tensor(1.0)},
        "lr": {"g": 2e-4, "d": 2e-4, "v": 1e-4},
        "samples_per_s": 3.14159,
        "frames_per_s": 18.0,
        "data_wait": 0.031,
        "memory": 1.25,
        "eta_s": 3700.0,
    }
    assert format_line(record) == (
        "step 40 | coarse | g_gan 0.5123 d 1 | lr 2.0e-04/1.0e-04 | 3.142 samples/s | 18 frames/s | "
        "data wait 3 % | 1.25 GiB | ETA 1:01:40"
    )
    assert format_line({"step": 1}) == "step 1"
    assert format_line({"step": 1, "samples_per_s": 2.5, "frames_per_s": 2.5}) == "step 1 | 2.5 samples/s"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1:00"),
        (187, "3:07"),
        (7509, "2:05:09"),
        (273600, "3 d 04:00:00"),
        (-1, "0 s"),
    ],
)
def test_times(seconds, text):
    assert format_time(seconds) == text


LONG = {
    "step": 1_000_000, "stage": "w2048_t28", "progress": 0.0123, "samples_per_s": 0.04567, "eta_s": 3 * 86400.0,
    "data_wait": 0.35, "losses": {f"p/loss{i}": 1234567.8 * 10**i for i in range(9)},
}  # fmt: skip


def test_a_short_line_fits_and_keeps_the_most_telling() -> None:
    line = short_line(LONG, [f"p/loss{i}" for i in range(9)])
    assert len(line) <= 110
    assert line.startswith("step 1000000 | 1.2 % | w2048_t28 | p/loss0 1.23e+06 | ")
    assert line.endswith("| 0.0457 samples/s, data wait 35 % | ETA 3 d 00:00:00")
    assert "loss8" not in line


def test_a_short_line() -> None:
    record = {"step": 40, "stage": None, "progress": 0.5, "losses": {"g/gan": 0.51234, "top1": 0.9}, "lr": {"g": 1e-3},
              "samples_per_s": 11.52, "eta_s": 61.0, "data_wait": 0.02, "memory": 3.0}  # fmt: skip
    assert short_line(record, ("g/gan", "absent", "top1")) == (
        "step 40 | 50 % | g/gan 0.512 top1 0.9 | 11.5 samples/s | ETA 1:01"
    )
    assert short_line({**record, "losses": {}}, ("g/gan",)) == "step 40 | 50 % | 11.5 samples/s | ETA 1:01"


def test_messages_of_our_packages_are_shown_once(tmp_path, capsys):
    with RunLogger(tmp_path, tensorboard=False, packages=("ours",)):
        for _ in range(2):
            logging.getLogger("ours.data").info("the last 10 frames are held out")
        logging.getLogger("theirs").info("noise")
        logging.getLogger("theirs").warning("careful")
    assert capsys.readouterr().out == "the last 10 frames are held out\ncareful\n"
    assert (tmp_path / "train.log").read_text().count("held out") == 2
    logging.getLogger("ours.data").info("not any more")
    assert capsys.readouterr().out == ""
