from kdcompress.reporting import provenance
from kdcompress.results import Named
from tests.reporting.fake_runs import make_result


def test_steps_and_weights_have_rows_of_their_own_in_words():
    options = {
        "batch_size": 16,
        "averaging": None,
        "steps": [{"teacher": "frozen", "gan": True, "learning_rate": 0.002}, {"teacher": "joint", "gan": False}],
        "weights": {"feature_matching": 1.0},
        "extra": [{"inner": {"depth": None}}],
    }
    rows = dict(provenance.set_up(make_result(strategy=Named("progressive", options))).rows)
    assert rows["Strategy"] == "progressive (batch size 16, averaging auto)"
    assert rows["Strategy, step 1"] == "teacher frozen, gan yes, learning rate 0.002"
    assert rows["Strategy, step 2"] == "teacher joint, gan no"
    assert rows["Strategy, weights"] == "feature matching 1"
    assert rows["Strategy, extra 1"] == "inner (depth auto)"
    assert not [text for text in rows.values() if "{" in text or "[" in text]


def test_no_architecture_is_a_dash_and_empty_lists_are_told():
    rows = dict(provenance.set_up(make_result(teacher_architecture=None, strategy=Named("a", {"steps": []}))).rows)
    assert rows["Teacher"] == "–"
    assert rows["Strategy"] == "a (steps –)"


def test_a_measured_plan_of_the_environment_is_one_row():
    plans = {"student: step 1": {"precision": "fp32", "measured_ms": {"fp32 contiguous": 4.05, "bf16": None}}}
    rows = provenance.environment({"plans": plans, "threads": 2}).rows
    assert rows == (
        ("threads", "2"),
        ("plans.student: step 1", "precision fp32, measured ms (fp32 contiguous 4.05, bf16 –)"),
    )
