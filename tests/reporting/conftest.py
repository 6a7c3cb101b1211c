import pytest

from tests.reporting.fake_runs import BARE, make_record, make_result, make_scores, without_anomalies


@pytest.fixture(scope="session")
def record():
    """A progressive run with everything that a run can have."""
    return make_record()


@pytest.fixture(scope="session")
def records(record):
    """Every sparse kind of run, beside the full one, by what is missing."""
    lone_scores = {name: make_scores()[name] for name in ("labels", "student")}
    return {
        "nothing": record,
        "teacher and control": make_record(make_result(**BARE), scores=lone_scores),
        "anomalies": without_anomalies(),
        "control": make_record(make_result(control=None, verdict=None, kd_gain=None, kd_gain_ci95=None)),
        "all files but the result": make_record(
            make_result(**BARE), scores={}, history=(), environment={}, recipe="", samples={}
        ),
    }
