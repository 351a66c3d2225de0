import signal

import pytest
from headstitch.backend import stop


def interrupted(block) -> list[str]:
    """What ``block`` noted down before the stop that it gets from itself."""
    notes: list[str] = []

    def politely() -> None:
        with stop.polite_stop():
            block(notes)

    with pytest.raises(KeyboardInterrupt):
        politely()
    return notes


def test_a_stop_raises_at_once():
    def block(notes):
        signal.raise_signal(signal.SIGINT)
        notes.append("went on")

    assert interrupted(block) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_held_stop_waits_for_the_end_of_the_block(number):
    def block(notes):
        with stop.held():
            with stop.held():
                signal.raise_signal(number)
                notes.append("inner")
            notes.append("outer")
        notes.append("went on")

    assert interrupted(block) == ["inner", "outer"]


def test_a_stop_after_a_held_block_raises_at_once_again():
    def block(notes):
        with stop.held():
            pass
        signal.raise_signal(signal.SIGTERM)
        notes.append("went on")

    assert interrupted(block) == []


def test_a_failure_of_a_held_block_is_not_hidden_by_the_stop():
    def fails() -> None:
        with stop.polite_stop(), stop.held():
            signal.raise_signal(signal.SIGINT)
            raise ImportError

    with pytest.raises(ImportError):
        fails()


def test_nothing_waits_after_the_last_block():
    before = signal.getsignal(signal.SIGINT)
    interrupted(lambda notes: signal.raise_signal(signal.SIGINT))
    assert signal.getsignal(signal.SIGINT) is before
    stop.check()
