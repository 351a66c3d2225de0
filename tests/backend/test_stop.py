import signal

import pytest
from headstitch.backend import stop


def test_a_stop_raises_at_once():
    with pytest.raises(KeyboardInterrupt), stop.polite_stop():
        signal.raise_signal(signal.SIGINT)
        pytest.fail("went on")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_held_stop_waits_for_the_end_of_the_block(number):
    done = []
    with pytest.raises(KeyboardInterrupt), stop.polite_stop():
        with stop.held():
            with stop.held():
                signal.raise_signal(number)
                done.append("inner")
            done.append("outer")
        pytest.fail("went on")
    assert done == ["inner", "outer"]


def test_a_failure_of_a_held_block_is_not_hidden_by_the_stop():
    with pytest.raises(ImportError), stop.polite_stop(), stop.held():
        signal.raise_signal(signal.SIGINT)
        raise ImportError


def test_a_stop_after_a_held_block_raises_at_once_again():
    with pytest.raises(KeyboardInterrupt), stop.polite_stop():
        with stop.held():
            pass
        signal.raise_signal(signal.SIGTERM)
        pytest.fail("went on")


def test_nothing_waits_after_the_last_block():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), stop.polite_stop():
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
    stop.check()
