"""Train vid2vid on the street world for a few minutes and look at what it makes; ``make demo`` runs this.

python scripts/demo.py
python scripts/demo.py minutes=20 name=longer
"""

from __future__ import annotations

import _setup  # noqa: F401  # first: passive OpenMP threads, the repository on the path

import time
from dataclasses import dataclass, field
from pathlib import Path

from train import SCHEMAS, TASKS
from trainer.cli import compose, guarded, load_run
from trainer.config.arguments import parse_args
from trainer.errors import refuse

EXPERIMENT = "vid2vid/demo"


@dataclass
class Arguments:
    name: str = "demo"  # the run directory is runs/NAME
    minutes: float = 7.0  # of training; what else the demo does takes one more
    frames: int = 96  # length of the video
    zoom: int = 3  # the video's enlargement
    experiment: str = EXPERIMENT  # recipe in configs/experiment
    overrides: list[str] = field(default_factory=list)


@guarded
def main() -> None:
    arguments = parse_args(Arguments)
    run_dir = Path("runs") / arguments.name
    began = time.monotonic()
    build = TASKS["vid2vid"].build
    if (run_dir / "config.yaml").is_file():
        print(f"{run_dir} is there already: going on with it (remove it to start anew)")
        config = load_run(run_dir, SCHEMAS, arguments.overrides)
    else:
        words = [f"experiment={arguments.experiment}", f"name={arguments.name}"]
        config = compose([*words, f"trainer.budget={arguments.minutes:g}m", *arguments.overrides], SCHEMAS)
    problems = TASKS["vid2vid"].problems(config)
    refuse(problems)

    from trainer.loop import Trainer
    from vid2vid.evaluate.run import evaluate_run, format_table, write_eval
    from vid2vid.generate.demo import draw_curves, make_contact_sheet, make_video
    from vid2vid.trained import load_generator

    trainer = Trainer(config, lambda: build(config), run_dir)
    started = time.monotonic()
    trainer.fit()
    if not (run_dir / "done.json").is_file():  # it was asked to stop
        return
    trained = time.monotonic()
    run = load_generator(load_run(run_dir, SCHEMAS), run_dir)
    print(f"generating {arguments.frames} frames of a street that it never saw ...", flush=True)
    video = make_video(run, run_dir / "street.mp4", arguments.frames, arguments.zoom)
    sheet = make_contact_sheet(video.video, run_dir / "contact_sheet.png")
    curves = draw_curves(run_dir)
    result = evaluate_run(run)
    write_eval(run_dir, result, run)
    print(f"\n{format_table(result)}\n")
    print(f"video          {video.video}   (label | real | generated)")
    print(f"contact sheet  {sheet}")
    print(f"curves         {curves}")
    print(f"figures        {run_dir / 'eval.json'}")
    print(f"weights        {run_dir / 'checkpoints'}")
    print(f"\n{(trained - started) / 60:.1f} minutes of training, {(time.monotonic() - began) / 60:.1f} in all. Next:")
    print(f"  python scripts/generate.py run={run_dir} source=street clip=3 out=street3.mp4 compare=true remap=11:21")
    print(f"  tensorboard --logdir {run_dir}")


if __name__ == "__main__":
    main()
