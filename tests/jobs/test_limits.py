import pytest

from transfer.errors import SettingsError
from transfer.jobs import JobLimits
from transfer.jobs.limits import roughly, spoken


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("queued", 0),
        ("queued", None),
        ("queued", 2.5),
        ("job_seconds", 0),
        ("job_seconds", "long"),
        ("run_seconds", -1),
        ("run_seconds", float("nan")),
        ("upload_bytes", 1.5),
        ("disk_bytes", True),
        ("jobs_an_hour", 0),
        ("own_runs_only", "yes"),
    ],
)
def test_a_limit_that_cannot_be_is_named(field, value):
    with pytest.raises(SettingsError, match=f"{field} must be .*found"):
        JobLimits(**{field: value})


def test_at_home_nothing_goes_by_itself_and_nothing_needs_saying():
    limits = JobLimits.local()
    assert limits.run_seconds is None and limits.job_seconds is None
    assert limits.described() == [] and limits.seconds_left(0) is None


def test_a_shared_server_says_what_it_lends():
    told = " ".join(JobLimits.shared().described())
    for words in ("at most 30 minutes", "24 hours", "200 MB", "20 trainings an hour", "Only you"):
        assert words in told


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1, "1 second"),
        (45, "45 seconds"),
        (60, "1 minute"),
        (90, "90 seconds"),
        (1_800, "30 minutes"),
        (3_600, "1 hour"),
        (5_400, "90 minutes"),
        (86_400, "24 hours"),
        (172_800, "2 days"),
    ],
)
def test_times_are_said_in_the_largest_unit_that_fits(seconds, words):
    assert spoken(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "1 minute"),
        (61, "2 minutes"),
        (3_600, "1 hour"),
        (5_401, "2 hours"),
        (80_000, "23 hours"),
    ],
)
def test_a_wait_is_never_said_too_short(seconds, words):
    assert roughly(seconds) == words
