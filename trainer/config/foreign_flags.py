"""What people type who come from other training scripts: their flags as keys, and words for what there is none of.

Loads neither torch nor Hydra.
"""

from __future__ import annotations

from collections.abc import Sequence

from trainer.errors import ConfigError

# flags of timm's, torchvision's, DeiT's and Hugging Face's scripts: the key that says the same; VALUE is the flag's
_FLAGS = {
    "epochs": "trainer.max_epochs=VALUE",
    "num-epochs": "trainer.max_epochs=VALUE",
    "num-train-epochs": "trainer.max_epochs=VALUE",
    "max-steps": "trainer.max_steps=VALUE",
    "batch-size": "curriculum.stages.all.batch_size=VALUE",
    "b": "curriculum.stages.all.batch_size=VALUE",
    "per-device-train-batch-size": "curriculum.stages.all.batch_size=VALUE",
    "lr": "optim.main.lr=VALUE",
    "learning-rate": "optim.main.lr=VALUE",
    "weight-decay": "optim.main.weight_decay=VALUE",
    "wd": "optim.main.weight_decay=VALUE",
    "momentum": "optim.main.momentum=VALUE",
    "clip-grad": "optim.main.clip=VALUE",
    "opt": "optim=VALUE",
    "optimizer": "optim=VALUE",
    "warmup-epochs": "schedule.warmup_epochs=VALUE",
    "warmup-lr": "schedule.warmup_lr=VALUE",
    "min-lr": "schedule.min_lr=VALUE",
    "model": "model=timm model.name=VALUE",
    "arch": "model=timm model.name=VALUE",
    "a": "model=timm model.name=VALUE",
    "pretrained": "model.weights=timm:NAME",
    "initial-checkpoint": "model.weights=VALUE",
    "finetune": "model.weights=VALUE",
    "model-name-or-path": "model.weights=VALUE",
    "drop-path": "model.drop_path=VALUE",
    "drop": "model.dropout=VALUE",
    "data-dir": "data=imagefolder data.root=VALUE",
    "data-path": "data=imagefolder data.root=VALUE",
    "data": "data=imagefolder data.root=VALUE",
    "train-dir": "data=imagefolder data.root=VALUE",
    "dataset": "data=VALUE",
    "workers": "data.workers=VALUE",
    "num-workers": "data.workers=VALUE",
    "j": "data.workers=VALUE",
    "img-size": "resolution=VALUE",
    "input-size": "resolution=VALUE",
    "crop-pct": "augment.eval_crop_ratio=VALUE",
    "aa": "augment.auto=VALUE",
    "auto-augment": "augment.auto=VALUE",
    "color-jitter": "augment.color_jitter=VALUE",
    "reprob": "augment.erasing=VALUE",
    "random-erase": "augment.erasing=VALUE",
    "hflip": "augment.flip=VALUE",
    "mixup": "augment.mixup=VALUE",
    "cutmix": "augment.cutmix=VALUE",
    "smoothing": "loss.smoothing=VALUE",
    "label-smoothing": "loss.smoothing=VALUE",
    "model-ema": "trainer.ema=0.9998",
    "model-ema-decay": "trainer.ema=VALUE",
    "amp": "trainer.precision=bf16",
    "fp16": "trainer.precision=fp16",
    "bf16": "trainer.precision=bf16",
    "device": "trainer.device=VALUE",
    "seed": "seed=VALUE",
    "output": "name=VALUE",
    "output-dir": "name=VALUE",
    "experiment": "name=VALUE",
    "lr-scheduler": "schedule=VALUE",
    "sched": "schedule=VALUE",
    "resume": "name=NAME of the run, and otherwise the same command: it goes on where it stopped",
}
_ABSENT = {
    **dict.fromkeys(
        ("early_stopping", "early_stop", "patience", "early_stopping_patience"),
        "nothing stops a run early, for its rate falls to the end: trainer.keep_best=top1 (or another score) keeps the "
        "best checkpoint, and trainer.max_epochs shortens the whole schedule",
    ),
    **dict.fromkeys(
        ("kfold", "k_fold", "folds", "n_folds", "num_folds", "n_splits", "fold"),
        "folds are a column of a table: data=csv data.csv_split=COLUMN data.csv_val=0, and -m with data.csv_val=0,1,2 "
        "trains on all (docs/data.md)",
    ),
    **dict.fromkeys(
        ("weighted_sampler", "sampler", "oversample", "oversampling", "class_balanced"),
        "data.balanced=true draws every class equally often, loss.class_weights=balanced weighs them",
    ),
}


def absent(key: str) -> str | None:
    """What to do instead of what a key asks for, where there is no such thing."""
    return _ABSENT.get(key.rpartition(".")[2].lower().replace("-", "_"))


def check_flags(words: Sequence[str], known: Sequence[str]) -> None:
    """Raise ConfigError for flags of other scripts among the words of a command line; tells the keys to give.

    Args:
        known: flags that there are, with their dashes.
    """
    problems = []
    for place, word in enumerate(words):
        name, equals, value = word.partition("=")
        short = name.startswith("-") and not name.startswith("--") and name[:2] in known
        if not name.startswith("-") or name in known or short or not name.strip("-"):
            continue
        if not equals:
            after = words[place + 1] if place + 1 < len(words) else ""
            value = after if after and not after.startswith("-") and "=" not in after else ""
        flag = name.lstrip("-").replace("_", "-").lower()
        told = f"{word} {value}".strip() if not equals else word
        instead = _FLAGS.get(flag)
        other = absent(flag)
        if instead is not None:
            problems.append(f"{told}: settings are key=value here: {instead.replace('VALUE', value or '...')}")
        else:
            problems.append(f"{told}: settings are key=value here" + (f"; {other}" if other else f", like {flag}=..."))
    if problems:
        raise ConfigError([*problems, "python train.py model=NAME --help lists every key with its meaning"])
