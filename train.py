"""Train a model: ``python train.py model=vid2vid [GROUP=NAME ...] [key=value ...]``; ``--help`` shows examples.

The only place that names the tasks. A task is a package with ``config.py``, ``validate.py`` and ``task.py``.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: spinning threads cost 25 times beside another job

from trainer.cli import TaskEntry, guarded, main
from trainer.task import Task
from vid2vid.config import Vid2VidConfig
from vid2vid.validate import problems as vid2vid_problems


def build_vid2vid(config: Vid2VidConfig) -> Task:
    from vid2vid.task import Vid2VidTask  # with torch, which --help and configuration errors do without

    return Vid2VidTask(config)


TASKS = {"vid2vid": TaskEntry(Vid2VidConfig, vid2vid_problems, build_vid2vid)}
SCHEMAS = {name: entry.schema for name, entry in TASKS.items()}


def build_task(config: Vid2VidConfig) -> Task:
    """The task of a configuration, with freshly drawn weights."""
    return TASKS[config.task].build(config)


if __name__ == "__main__":
    guarded(lambda: main(TASKS))()
