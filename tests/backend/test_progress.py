from __future__ import annotations

import pytest
from headstitch.backend import progress
from headstitch.backend.progress import Progress, StageClock


@pytest.fixture
def clock(monkeypatch):
    """A time that only moves when told to."""

    class Time:
        now = 100.0

        def perf_counter(self) -> float:
            return self.now

    time = Time()
    monkeypatch.setattr(progress, "time", time)
    return time


def test_each_stage_is_told_once_with_the_share_of_the_work_before_it(clock):
    told: list[Progress] = []
    stages = StageClock({"portrait": 1, "surface": 3, "texture": 4}, told.append)
    for name in ("portrait", "surface", "texture"):
        with stages.stage(name):
            clock.now += 1
    stages.finish()
    assert [(p.stage, p.fraction) for p in told] == [
        ("portrait", 0.0),
        ("surface", 0.125),
        ("texture", 0.5),
        ("done", 1.0),
    ]


def test_the_time_left_follows_how_fast_the_finished_stages_really_were(clock):
    told: list[Progress] = []
    stages = StageClock({"portrait": 1, "surface": 3, "texture": 4}, told.append)
    with stages.stage("portrait"):
        clock.now += 2  # half as fast as expected
    with stages.stage("surface"):
        clock.now += 6
    with stages.stage("texture"):
        pass
    stages.finish()
    assert [p.seconds_left for p in told] == [None, 14.0, 8.0, 0.0]
    assert stages.seconds == {"portrait": 2.0, "surface": 6.0, "texture": 0.0}


def test_a_tenth_of_the_work_must_be_done_before_a_time_is_told(clock):
    told: list[Progress] = []
    stages = StageClock({"portrait": 1, "fit": 1, "surface": 18}, told.append)
    for name in ("portrait", "fit", "surface"):
        with stages.stage(name):
            clock.now += 5
    assert [p.seconds_left for p in told] == [None, None, 90.0]


def test_a_listener_may_cancel_the_job_by_raising():
    def cancel(_: Progress) -> None:
        raise KeyboardInterrupt

    stages = StageClock({"portrait": 1}, cancel)
    ran = False
    with pytest.raises(KeyboardInterrupt), stages.stage("portrait"):
        ran = True
    assert not ran


def test_a_stage_that_fails_passes_its_error_on_and_is_not_counted(clock):
    told: list[Progress] = []
    stages = StageClock({"portrait": 1, "surface": 1}, told.append)
    with pytest.raises(ValueError, match="spoiled"), stages.stage("portrait"):
        raise ValueError("spoiled")
    assert stages.seconds == {}
    assert [p.fraction for p in told] == [0.0]


def test_an_unknown_stage_is_refused():
    stages = StageClock({"portrait": 1})
    with pytest.raises(KeyError), stages.stage("potrait"):
        pass


def test_without_a_listener_the_stages_are_still_timed(clock):
    stages = StageClock({"portrait": 1})
    with stages.stage("portrait"):
        clock.now += 3
    stages.finish()
    assert stages.seconds == {"portrait": 3.0}
