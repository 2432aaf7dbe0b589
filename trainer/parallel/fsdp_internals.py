"""What ``fully_shard`` of torch has no public name for, or not in every version that we run with (2.11 on)."""

from __future__ import annotations

from typing import Any

from torch.distributed.fsdp import FSDPModule


def make_root(module: FSDPModule) -> None:
    """Or a block that is called first would take itself for the whole."""
    module._get_fsdp_state()._lazy_init()


def groups(module: FSDPModule) -> list[Any]:
    """The parameters that are gathered together when this module works: in torch 2.11 one group, in 2.14 several."""
    return _groups(module._get_fsdp_state())


def _groups(state: Any) -> list[Any]:
    if hasattr(state, "_fsdp_param_groups"):
        return list(state._fsdp_param_groups)
    return [] if state._fsdp_param_group is None else [state._fsdp_param_group]


def forget_pass(root: FSDPModule) -> None:
    """A forward or backward pass broke off: waits for what is under way, and the next one begins anew.

    Gradients that were on their way are lost. ``FSDPModule.reset_iter_state`` where torch has it: 2.14 does, 2.11 does
    not.
    """
    if hasattr(root, "reset_iter_state"):
        root.reset_iter_state()
        return
    state: Any = root._get_fsdp_state()
    idle = type(state._training_state).IDLE
    for each in state._state_ctx.all_states:
        each._training_state = idle
        for group in _groups(each):
            group.finalize_backward()  # waits for its events, and forgets where it stood
            group._partial_reduce_output = None
            group._training_state = idle
            group.reshard()
    shared = state._comm_ctx
    shared.post_forward_order.clear()
    if shared.reduce_scatter_state is not None:
        state._device_handle.current_stream().wait_event(shared.reduce_scatter_state.event)
        shared.reduce_scatter_state = None
    state._state_ctx.iter_forward_root = None
    state._state_ctx.post_backward_final_callback_queued = False
