import os
import signal
import threading

import pytest

from kdcompress.signals import deferred


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_waits_for_the_block_to_end(number):
    reached = []

    def one():
        with deferred() as stop:
            os.kill(os.getpid(), number)
            reached.append(stop.asked)

    with pytest.raises(KeyboardInterrupt, match="^$"):
        one()
    assert reached == [True]


def test_the_second_signal_interrupts_at_once():
    reached = []

    def two():
        with deferred():
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
            reached.append("never")

    with pytest.raises(KeyboardInterrupt, match="^$"):
        two()
    assert reached == []


def test_handlers_are_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with deferred():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_without_a_signal_nothing_happens():
    with deferred() as stop:
        pass
    assert not stop.asked


def test_another_thread_may_use_it():
    seen = []

    def work():
        with deferred() as stop:
            seen.append(stop.asked)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]
