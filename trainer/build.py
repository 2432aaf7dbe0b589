"""From a configuration to the parts of a run. Called once, by ``Trainer``'s constructor."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainer.config.fields import RunConfig, Strategy
from trainer.device.pick import pick_device
from trainer.device.precision import PrecisionPolicy, resolve_precision
from trainer.errors import ConfigError, refuse
from trainer.optim.lamb import Lamb
from trainer.optim.optimizers import build_optimizer, matches, moments, trainable_names
from trainer.parallel import choice
from trainer.parallel.processes import Parallel
from trainer.schedule import cadence, learning_rate, ramp, stage_table
from trainer.schedule.curriculum import Curriculum
from trainer.task import Phase, Task
from trainer.validate import optimizer_problems

_THREADS = torch.get_num_threads()


def prepare_process(config: RunConfig) -> tuple[Parallel, torch.device]:
    """Checks what can be checked without the task, and sets what torch keeps per process.

    Raises:
        ConfigError: all problems of run length, curriculum and schedule.
    """
    settings = config.trainer
    device = pick_device(settings.device)
    hang_after = cadence.seconds("hang_after", settings.hang_after)
    parallel = Parallel(settings.strategy, device, hang_after, settings.shard_group)
    problems = stage_table.problems(config, parallel.world) + learning_rate.problems(config.schedule)
    problems += learning_rate.rate_problems(config.schedule, config.optim) + ramp.problems(config)
    refuse(problems)
    # What an earlier job of a sweep in this process had set is not this one's.
    torch.set_num_threads(settings.threads or _THREADS)
    if settings.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads this when it starts
    # Operations without a deterministic form (the backward pass of grid_sample on CUDA) warn by name; an error would
    # rule the mode out for every model that warps.
    torch.use_deterministic_algorithms(settings.deterministic, warn_only=True)
    if device.type == "cuda":
        # Where an error is only a warning, fused attention stays as it is: its backward pass adds up in any order.
        for fused in ("flash", "mem_efficient", "cudnn"):
            getattr(torch.backends.cuda, f"enable_{fused}_sdp")(not settings.deterministic)
        torch.set_float32_matmul_precision("high" if settings.tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = settings.tf32
        torch.backends.cudnn.benchmark = not settings.deterministic  # shapes are fixed within a stage
    return parallel, device


def build_task(config: RunConfig, task: Task | Callable[[], Task]) -> Task:
    """The task itself, or what its builder returns with all random streams seeded."""
    if isinstance(task, Task):
        return task
    torch.manual_seed(config.seed)
    random.seed(config.seed)
    np.random.seed(config.seed & 0xFFFFFFFF)
    return task()


def fsdp2_blocks(task: Task, phases: Mapping[str, Phase]) -> list[nn.Module]:
    """What ``fsdp2`` makes whole one at a time; nothing where it keeps weights whole.

    ``fully_shard`` frees and gathers weights around forward and backward passes. Several phases share passes, take
    gradients twice through one graph and of some parameters only, for which weights have to stay.
    """
    return task.shard_blocks() if len(phases) == 1 else []


def settle_strategy(
    config: RunConfig, parallel: Parallel, task: Task, phases: Mapping[str, Phase]
) -> tuple[str, list[nn.Module]]:
    """Makes ``auto`` one of the strategies, once the task is known.

    Returns:
        Why, empty where it was asked for; and what is sharded one by one, if anything.
    """
    reason = _choose_strategy(config, parallel, task, phases) if parallel.strategy is Strategy.auto else ""
    return reason, fsdp2_blocks(task, phases) if parallel.strategy is Strategy.fsdp2 else []


def _choose_strategy(config: RunConfig, parallel: Parallel, task: Task, phases: Mapping[str, Phase]) -> str:
    device = parallel.device
    own = phase_parameters(task.networks(), phases)
    count = sum(p.numel() for p in {id(p): p for named in own.values() for p in named.values()}.values())
    kept = max(moments(config.optim[name]) for name in phases)
    need = choice.state_bytes(count, kept, config.trainer.ema is not None, 1)
    total = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else None
    shards = not any(config.optim[name].kind in choice.UNSHARDED for name in phases)
    parallel.strategy, reason = choice.choose(len(phases), task.one_pass(), need.total, total if shards else None)
    return reason


def place_networks(config: RunConfig, task: Task, device: torch.device, wait: bool = False) -> dict[str, nn.Module]:
    """The task's networks on the device, ready to train; its frozen ones on the device and frozen.

    Args:
        wait: leaves the trained ones in main memory, for they will be sharded block by block: a card need never hold
            all of one.
    """
    networks = task.networks()
    for module in networks.values():
        if wait:
            module.train()
            if config.trainer.channels_last:
                keep_channels_last(module)
        else:
            _place(module, config, device).train()
    if compiles(config, device):
        _compile(task.compiled())
    for module in task.frozen().values():
        _place(module, config, device).eval().requires_grad_(False)
    return networks


def compiles(config: RunConfig, device: torch.device) -> bool:
    """Whether the run's networks are compiled there."""
    asked = config.trainer.compile
    return device.type == "cuda" if asked is None else asked


def _compile(modules: Sequence[nn.Module]) -> None:
    """Each in place, so that names stay what they are.

    Modules of one class share their code, for which the compiler keeps few versions: each may need one of its own
    (other shapes, other rates) for training and one for evaluation, once more where a stage or a rehearsal differs.
    """
    limits: Any = torch._dynamo.config
    limits.recompile_limit = max(limits.recompile_limit, 4 * len(modules))
    for module in modules:
        module.compile(dynamic=False)


def keep_channels_last(module: nn.Module) -> None:
    """Has convolutions get channels_last input, which they answer alike: ``fully_shard`` wants weights contiguous."""

    def convert(part: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(x.contiguous(memory_format=torch.channels_last) if _is_picture(x) else x for x in args)

    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
            part.register_forward_pre_hook(convert)


def _is_picture(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 4


def _place(module: nn.Module, config: RunConfig, device: torch.device) -> nn.Module:
    module.to(device)
    if config.trainer.channels_last:
        module.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return module


def all_phases(config: RunConfig, task: Task, table: Curriculum) -> dict[str, Phase]:
    """Every phase of any stage by name.

    Raises:
        ConfigError: optimisers, ``trainable`` patterns or the strategy do not fit the task.
    """
    phases: dict[str, Phase] = {}
    for stage in table.stages:
        for phase in task.phases(stage):
            known = phases.setdefault(phase.name, phase)
            if known.modules != phase.modules:
                raise ValueError(
                    f"phase {phase.name} trains {known.modules} in one stage and {phase.modules} in another"
                )
    used = {name: value for name, value in config.optim.items() if name in phases or name not in task.idle_phases()}
    problems = optimizer_problems(used, list(phases))
    names = [f"{n}.{name}" for n, module in task.networks().items() for name, _ in module.named_parameters()]
    for stage in table.stages:
        for pattern in stage.trainable:
            if not any(matches(name, pattern.removeprefix("!")) for name in names):
                networks = ", ".join(task.networks())
                problems.append(
                    f"curriculum.stages.{stage.name}.trainable: '{pattern}' names no parameter; networks: {networks}; "
                    "parts of them are named like 'network.part' or 'network.part.*'"
                )
        if not trainable_names(names, stage.trainable):
            problems.append(
                f"curriculum.stages.{stage.name}.trainable: nothing is left to train by {' '.join(stage.trainable)}"
            )
    if config.trainer.strategy is Strategy.ddp and len(phases) > 1:
        problems.append(
            f"trainer.strategy=ddp: the task has {len(phases)} phases ({', '.join(phases)}), whose several forward "
            "passes DDP's hooks mishandle; use trainer.strategy=flat"
        )
    refuse(problems)
    return phases


def phase_parameters(
    networks: Mapping[str, nn.Module], phases: Mapping[str, Phase]
) -> dict[str, dict[str, nn.Parameter]]:
    """All parameters of each phase by canonical name, whether they train in a stage or not."""
    return {
        phase.name: {f"{n}.{name}": p for n in phase.modules for name, p in networks[n].named_parameters()}
        for phase in phases.values()
    }


def build_optimizers(
    config: RunConfig,
    task: Task,
    parameters: Mapping[str, dict[str, nn.Parameter]],
    norms: Callable[[Tensor], Tensor] | None = None,
) -> dict[str, torch.optim.Optimizer]:
    """Every phase's optimiser.

    Args:
        norms: where parameters are rows of larger ones: makes norms of the whole of theirs (``Parallel.norms``).

    Raises:
        ConfigError: ``layer_decay`` asks for layers that the task does not tell.
    """
    optimizers, problems = {}, []
    for name, own in parameters.items():
        row = config.optim[name]
        try:
            optimizers[name] = build_optimizer(own, row, task.layers(name), task.undecayed(name))
            if isinstance(optimizers[name], Lamb):
                optimizers[name].norms = norms
        except ConfigError as error:
            problems += [f"optim.{name}.{problem}" for problem in error.problems]
    refuse(problems)
    return optimizers


def build_precision(
    config: RunConfig, device: torch.device, phases: Mapping[str, Phase]
) -> tuple[PrecisionPolicy, str]:
    """The precision policy, and why it is the one."""
    precision, reason = resolve_precision(config.trainer.precision, device)
    return PrecisionPolicy(precision, device, phases), reason
