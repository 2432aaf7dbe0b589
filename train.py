"""usage: python train.py model=NAME [GROUP=NAME ...] [key=value ...]

examples
  python train.py model=vit_ti16 name=first                       built-in pictures, into runs/first; again: goes on
  python train.py model=vit_b16 data=imagefolder data.root=PATH   your own pictures, a folder per class
  python train.py model=vid2vid data=folders data.root=PATH       video from label maps: your own frames
  python train.py model=vit_b16 trainer.dry_run=true              show configuration, data flow and stages, and stop
  python train.py run=runs/first trainer.max_samples=100000       go on with a run, by its own config.yaml
  python train.py -m model=vit_mu seed=0,1 name=seeds             a sweep: runs/seeds/seed=0, runs/seeds/seed=1
  torchrun --nproc-per-node=2 train.py model=vid2vid              two processes
"""

# The only place that names the tasks: each is a package with config.py, validate.py and task.py, and a module for each
# of the verbs that it has, of which scripts/VERB.py makes a command.

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: spinning threads cost 25 times beside another job

from trainer.cli import guarded, main
from trainer.config.fields import RunConfig
from trainer.task import Task
from trainer.task_table import TaskEntry
from vid2vid.config import Vid2VidConfig
from vid2vid.future.config import LabelPredictorConfig
from vid2vid.future.validate import problems as label_predictor_problems
from vid2vid.validate import problems as vid2vid_problems
from vit.config import VitConfig
from vit.mae.config import MaeConfig
from vit.mae.validate import problems as mae_problems
from vit.segmentation.config import SegmentationConfig
from vit.segmentation.validate import problems as segmentation_problems
from vit.stylize.config import StylizerConfig
from vit.stylize.validate import problems as stylizer_problems
from vit.validate import problems as vit_problems


def build_vid2vid(config: Vid2VidConfig) -> Task:
    from vid2vid.task import Vid2VidTask  # with torch, which --help and configuration errors do without
    from vit.backbone import read_run

    return Vid2VidTask(config, read_run)


def build_label_predictor(config: LabelPredictorConfig) -> Task:
    from vid2vid.future.task import LabelPredictorTask

    return LabelPredictorTask(config)


def build_vit(config: VitConfig) -> Task:
    from vit.task import VitTask

    return VitTask(config)


def build_segmentation(config: SegmentationConfig) -> Task:
    from vit.segmentation.task import SegmentationTask

    return SegmentationTask(config)


def build_stylizer(config: StylizerConfig) -> Task:
    from vit.stylize.task import StylizerTask

    return StylizerTask(config)


def build_mae(config: MaeConfig) -> Task:
    from vit.mae.task import MaeTask

    return MaeTask(config)


TASKS = {
    "vid2vid": TaskEntry(
        schema=Vid2VidConfig,
        problems=vid2vid_problems,
        build=build_vid2vid,
        model="vid2vid",
        verbs={
            "evaluate": "vid2vid.evaluate.command",
            "generate": "vid2vid.generate.command",
            "prepare": "vid2vid.prepare.command",
            "fit_styles": "vid2vid.styles.command",
            "drift": "vid2vid.drift.command",
            "ablations": "vid2vid.ablations.command",
            "check_data": "vid2vid.data.checking.command",
            "convert": "vid2vid.weights.command",
            "benchmark": "vid2vid.benchmark.command",
            "gpu": "vid2vid.benchmark.command",
            "train_segmenter": "vid2vid.segmenter.command",
            "ab_sheet": "vid2vid.preference.command",
            "export": "vid2vid.export.command",
        },
    ),
    "label_predictor": TaskEntry(
        schema=LabelPredictorConfig,
        problems=label_predictor_problems,
        build=build_label_predictor,
        model="label_predictor",
    ),
    "vit": TaskEntry(
        schema=VitConfig,
        problems=vit_problems,
        build=build_vit,
        model="vit_base",
        verbs={
            "evaluate": "vit.evaluate.command",
            "analyze": "vit.analysis.command",
            "predict": "vit.predict.command",
            "export": "vit.export.command",
            "check_data": "vit.data.checking.command",
            "convert": "vit.weights.command",
            "benchmark": "vit.benchmark.command",
            "gpu": "vit.benchmark.command",
        },
    ),
    "mae": TaskEntry(schema=MaeConfig, problems=mae_problems, build=build_mae, model="mae"),
    "segmentation": TaskEntry(
        schema=SegmentationConfig,
        problems=segmentation_problems,
        build=build_segmentation,
        model="setr",
        verbs={
            "evaluate": "vit.segmentation.evaluate",
            "predict": "vit.segmentation.predict",
            "check_data": "vit.segmentation.check_data",
        },
    ),
    "stylizer": TaskEntry(
        schema=StylizerConfig,
        problems=stylizer_problems,
        build=build_stylizer,
        model="stylizer",
        verbs={"stylize": "vit.stylize.command"},
    ),
}
SCHEMAS = {name: entry.schema for name, entry in TASKS.items()}


def build_task(config: RunConfig) -> Task:
    """The task of a configuration, with freshly drawn weights."""
    return TASKS[config.task].build(config)


if __name__ == "__main__":
    guarded(lambda: main(TASKS, __doc__ or ""))()
