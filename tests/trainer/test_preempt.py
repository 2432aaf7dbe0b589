"""Signals set a flag and nothing else; handlers are put back."""

import os
import signal
import threading

import pytest

from trainer.preempt import StopFlag


@pytest.fixture
def heard():
    """The tests themselves may run under nohup, which has it ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGINT])
def test_a_signal_requests_a_stop_and_handlers_come_back(number, heard):
    before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGINT)}
    with StopFlag() as flag:
        assert not flag() and flag.signal_name is None
        os.kill(os.getpid(), number)
        assert flag.requested and flag() and flag.signal_name == number.name
    assert {n: signal.getsignal(n) for n in before} == before


def test_nohup_stays_in_force():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopFlag() as flag:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not flag.requested
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_second_interrupt_raises():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), StopFlag() as flag:
        os.kill(os.getpid(), signal.SIGINT)
        assert flag.requested
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_repeated_terminations_only_set_the_flag():
    with StopFlag() as flag:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)  # the first interrupt, though not the first signal
        assert flag.requested and flag.signal_name == "SIGINT"


def test_works_without_signals_outside_the_main_thread():
    seen = []

    def run():
        with StopFlag() as flag:
            flag.requested = True
            seen.append(flag())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [True]
