from __future__ import annotations

import io

import pytest
from headstitch.backend.progress import Progress
from headstitch.backend.terminal import Bar, time_left


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_without_a_terminal_there_is_one_line_a_stage(capsys):
    stream = io.StringIO()
    with Bar(stream) as bar:
        bar(Progress("portrait", 0.0, None))
        bar(Progress("portrait", 0.2, 9.0))
        bar.say("hello")
        bar(Progress("texture", 0.5, 4.2))
        bar(Progress("done", 1.0, 0.0))
    assert stream.getvalue().splitlines() == ["  0% portrait", " 50% texture, about 4 s left", "100% done"]
    assert capsys.readouterr().out == "hello\n"


def test_a_terminal_shows_a_bar_with_stage_and_time_left_and_leaves_no_trace_of_it():
    stream = Terminal()
    with Bar(stream) as bar:
        bar(Progress("portrait", 0.0, None))
        bar(Progress("texture", 0.5, 4.2))
    shown = stream.getvalue()
    assert " 50%|" in shown
    assert "texture, about 4 s left" in shown
    assert shown.rpartition("\r")[0].rpartition("\r")[2].strip() == ""


def test_the_bar_goes_when_the_job_fails():
    stream = Terminal()

    def work() -> None:
        with Bar(stream) as bar:
            bar(Progress("portrait", 0.0, None))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert stream.getvalue().rpartition("\r")[0].rpartition("\r")[2].strip() == ""


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, ""),
        (0.2, "about 1 s left"),
        (89, "about 89 s left"),
        (100, "about 2 min left"),
        (5399, "about 90 min left"),
        (9000, "about 2.5 h left"),
    ],
)
def test_the_time_left_in_words(seconds, words):
    assert time_left(seconds) == words
