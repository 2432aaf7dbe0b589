"""What is told at the start of a run besides weights, losses and unfed parts, which have tests of their own."""

from tests.helpers.made_run import street_config
from vid2vid.config import FlowMethod, Gan, Vid2VidStage
from vid2vid.task import Vid2VidTask


def test_raft_over_several_frames_runs_in_the_workers_and_is_told() -> None:
    config = street_config()
    config.model.lambda_perceptual, config.model.temporal_scales = 0.0, 2
    config.data.flow, config.data.frame_step = FlowMethod.raft, 3
    (note,) = Vid2VidTask(config).notes()
    assert note.startswith("data.flow=raft with data.frame_step=3") and "on the CPU" in note
    config.data.frame_step = 1
    assert Vid2VidTask(config).notes() == []
    config.data.flow, config.data.frame_step = FlowMethod.dis, 3
    assert Vid2VidTask(config).notes() == []


def test_flow_files_of_one_direction_are_told_where_clips_are_played_back() -> None:
    config = street_config()
    config.model.lambda_perceptual, config.model.temporal_scales = 0.0, 2
    config.data.flow = FlowMethod.precomputed
    assert Vid2VidTask(config).notes() == []
    config.curriculum.stages = {"all": Vid2VidStage(palindrome=True)}
    (note,) = Vid2VidTask(config).notes()
    assert note.startswith("data.flow=precomputed holds flow of one direction")


def test_a_relativistic_loss_without_penalties_is_told() -> None:
    config = street_config()
    config.model.lambda_perceptual, config.model.temporal_scales = 0.0, 2
    config.model.gan, config.model.r1_gamma = Gan.relativistic, 0.02
    (note,) = Vid2VidTask(config).notes()
    assert note.startswith("model.gan=relativistic with model.r1_gamma=0.02 and model.r2_gamma=0:")
    config.model.r2_gamma = 0.02
    assert Vid2VidTask(config).notes() == []
