"""The states of a cell and their limits, on a clock that stands still."""

import math

import pytest

from genbench.executors.supervisor import Limits, State, Supervisor

LIMITS = Limits(starting=30, working=10, waiting=100, stopped=4, ending=2)


@pytest.fixture
def now():
    return [0.0]


@pytest.fixture
def cell(now):
    return Supervisor(LIMITS, lambda: now[0])


def after(cell, now, seconds):
    """What is due just before and just after so many seconds more."""
    start = now[0]
    now[0] = start + seconds - 0.01
    before = cell.due()
    now[0] = start + seconds + 0.01
    return before, cell.due()


def test_a_server_that_does_not_start_is_killed(cell, now):
    assert after(cell, now, 30) == (None, "server")
    assert cell.overran is State.STARTING and cell.reason == "did not start within 30 s"


def test_a_cell_that_works_too_long_is_killed_and_then_its_server(cell, now):
    now[0] = 29
    cell.begin()
    assert after(cell, now, 10) == (None, "cell")
    assert after(cell, now, 2) == (None, "server")
    assert cell.overran is State.WORKING and cell.state is State.ENDING
    cell.ended()
    assert cell.deadline == math.inf


def test_waiting_does_not_count_and_has_a_limit_of_its_own(cell, now):
    cell.begin()
    now[0] = 6
    cell.wait(True)
    now[0] = 90
    assert cell.due() is None and cell.state is State.WAITING
    cell.wait(False)
    assert after(cell, now, 4) == (None, "cell") and cell.overran is State.WORKING
    other = Supervisor(LIMITS, lambda: now[0])
    other.begin()
    other.wait(True)
    assert after(other, now, 100) == (None, "cell")
    assert other.reason == "waited longer than 100 s for another process"


def test_a_stopped_cell_is_told_once_and_its_time_counts(cell, now):
    cell.begin()
    assert cell.stop(True) and not cell.stop(True)
    now[0] = 3
    assert not cell.stop(False) and cell.state is State.WORKING
    assert cell.deadline == 10
    now[0] = 8
    assert cell.stop(True)
    assert after(cell, now, 2) == (None, "cell") and cell.overran is State.WORKING
    other = Supervisor(LIMITS, lambda: now[0])
    other.begin()
    other.stop(True)
    assert after(other, now, 4) == (None, "cell")
    assert other.reason == "was stopped by a signal for longer than 4 s"


def test_a_cell_that_is_done_has_to_end(cell, now):
    cell.begin()
    cell.done()
    assert cell.said_done and after(cell, now, 2) == (None, "cell")
    assert cell.reason == "did not end within 2 s"
    cell.wait(True)
    cell.begin()
    assert cell.state is State.ENDING


def test_without_a_limit_a_cell_works_for_ever(now):
    cell = Supervisor(Limits(), lambda: now[0])
    cell.begin()
    now[0] = 1e9
    assert cell.due() is None
