"""The strategies that copy one thing of a frozen teacher in one stage."""

import copy

import pytest
import torch

from kdcompress import pipeline, signature
from kdcompress.architectures import ARCHITECTURES
from kdcompress.errors import InputError
from kdcompress.stage import fed
from kdcompress.strategies import STRATEGIES
from kdcompress.strategies.response import response
from kdcompress.types import Interface, interface
from tests.engine.nets import run, same, weights
from tests.recipes import tiny

ROWS = torch.randn(96, 6, generator=torch.Generator().manual_seed(0))
IMAGES = torch.randint(0, 256, (64, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
COPYING = ("reconstruction", "latent", "hint", "attention", "relational", "similarity", "response")
TERMS = {
    "reconstruction": ["distil_reconstruction"],
    "latent": ["distil_latent"],
    "hint": ["distil_features", "distil_latent"],
    "attention": ["distil_attention"],
    "relational": [f"distil_{kind}_of_{one}" for one in ("features", "latent") for kind in ("distances", "angles")],
    "similarity": ["distil_similarity_of_features", "distil_similarity_of_latent"],
    "response": ["distil_score"],
}


def pair(name, seed=0, raw=IMAGES, **options):
    torch.manual_seed(seed)
    found = ARCHITECTURES[name](tuple(raw.shape[1:]), **options)
    with torch.no_grad():
        found.detector.eval().adapt([raw])
    return found


def planned(name, student, teacher=None, raw=IMAGES, **options):
    sides = interface(student, raw[:2]), None if teacher is None else interface(teacher, raw[:2])
    build = STRATEGIES[name]
    arguments = signature.arguments(build, {"batch_size": 16, **options})
    return fed(build(*sides, **arguments), *sides)[0]


def teacher_and_student():
    return pair("ede_gan", 9, base=8, latent=6), pair("conv_ae", 1, base=4, latent=3)


@pytest.mark.parametrize("name", COPYING)
def test_one_stage_moves_the_student_alone_by_its_own_losses_and_what_it_copies(name):
    teacher, student = teacher_and_student()
    (stage,) = planned(name, student, teacher)
    assert stage.name == name
    assert stage.trained() <= {"student.detector", "projection"}
    own, *copied = stage.terms()
    assert (own.name, own.weight, own.inputs) == ("reconstruction", 0.1, "normals")
    assert [(one.name, one.inputs) for one in copied] == [(one, "both") for one in TERMS[name]]
    assert stage.queries == ("noise", "mixes", "shuffles")


@pytest.mark.parametrize("name", COPYING)
def test_the_teacher_keeps_its_bits_and_the_student_comes_nearer_to_it(name):
    teacher, student = teacher_and_student()
    before = weights(teacher.detector)
    stages = planned(name, student, teacher, epochs=8, learning_rate=5e-3, own_weight=0)
    rows = run(stages, student, teacher, IMAGES)
    assert same(weights(teacher.detector), before)
    for term in TERMS[name]:
        found = [row["losses"][f"student.{term}"] for row in rows]
        assert found[-1] < 0.9 * found[0], (term, found)


@pytest.mark.parametrize("name", COPYING)
def test_the_control_learns_its_own_losses_with_weight_one(name):
    student = pair("conv_ae", 1, base=4, latent=3)
    (stage,) = planned(name, student, own_weight=0.3)
    assert stage.name == "alone"
    assert [(one.name, one.weight) for one in stage.terms()] == [("reconstruction", 1.0)]
    assert stage.queries == ()
    assert stage == planned("response", student)[0]


@pytest.mark.parametrize("name", COPYING)
def test_weights_scale_what_is_copied_and_own_weight_the_rest(name):
    teacher, student = teacher_and_student()
    changed = {"distance_weight": 3.0, "angle_weight": 6.0} if name == "relational" else {"weight": 3.0}
    plain, more = (planned(name, student, teacher, **one)[0].terms() for one in ({}, {**changed, "own_weight": 0.7}))
    assert [one.weight for one in more] == [0.7, *(pytest.approx(3 * one.weight) for one in plain[1:])]


@pytest.mark.parametrize("name", COPYING)
def test_queries_and_their_share_are_options(name):
    teacher, student = teacher_and_student()
    (stage,) = planned(name, student, teacher, queries=["pasted"], query_share=0.5)
    assert (stage.queries, stage.query_share) == (("pasted",), 0.5)
    (stage,) = planned(name, student, teacher, queries=[])
    assert stage.queries == ()
    asked, silent = copy.deepcopy(student), copy.deepcopy(student)
    run(planned(name, student, teacher, epochs=1), asked, teacher, IMAGES)
    run(planned(name, student, teacher, epochs=1, queries=[]), silent, teacher, IMAGES)
    assert not same(weights(asked.detector), weights(silent.detector))


@pytest.mark.parametrize("name", COPYING)
def test_a_student_that_learns_from_queries_alone_has_to_have_some(name):
    teacher, student = pair("ede_gan", 9, base=4), pair("score_net", 1)
    with pytest.raises(InputError, match="queries: none, and the student learns without a teacher by telling normals"):
        planned(name, student, teacher, queries=[])


@pytest.mark.parametrize("name", sorted({*COPYING} - {"response", "relational"}))
def test_no_weight_is_no_option(name):
    teacher, student = teacher_and_student()
    with pytest.raises(ValueError, match="greater than 0"):
        planned(name, student, teacher, weight=0)


def test_a_latent_of_another_size_goes_through_a_map_that_is_trained():
    teacher, student = teacher_and_student()
    for name, mapped in (("latent", ["latent"]), ("hint", ["features", "latent"])):
        (stage,) = planned(name, student, teacher)
        assert [one.output for one in stage.projections] == mapped
        assert stage.updates[0].parts == ("student.detector", "projection")
    (stage,) = planned("hint", student, teacher)
    assert [(one.from_size, one.to_size) for one in stage.projections] == [(8, 16), (3, 6)]
    for name in ("relational", "similarity", "attention", "response", "reconstruction"):
        assert planned(name, student, teacher)[0].projections == ()
    alike = pair("conv_ae", 2, base=4, latent=3)
    assert planned("hint", student, alike)[0].projections == ()


@pytest.mark.parametrize("name", ["hint", "relational", "similarity"])
def test_outputs_choose_what_is_compared(name):
    teacher, student = teacher_and_student()
    for chosen, other in (("latent", "features"), ("features", "latent")):
        (stage,) = planned(name, student, teacher, outputs=[chosen, chosen])
        names = [one.name for one in stage.terms()[1:]]
        assert names == [one for one in TERMS[name] if chosen in one]
        assert not any(other in one for one in names)


@pytest.mark.parametrize("name", ["hint", "relational", "similarity"])
def test_what_one_side_lacks_is_left_out(name):
    teacher, student = pair("mlp_ae", 9, ROWS), pair("mlp_ae", 1, ROWS)
    (stage,) = planned(name, student, teacher, ROWS)
    assert [one.name for one in stage.terms()[1:]] == [one for one in TERMS[name] if "latent" in one]
    with pytest.raises(InputError, match=r"nothing to learn from the teacher in stage .* needs own features, other"):
        planned(name, student, teacher, ROWS, outputs=["features"])


@pytest.mark.parametrize("name", sorted({*COPYING} - {"response"}))
def test_a_teacher_that_offers_nothing_of_it_is_refused(name):
    student = pair("conv_ae", 1, base=4)
    with pytest.raises(InputError, match=f"nothing to learn from the teacher in stage '{name}': .* needs other"):
        planned(name, student, pair("nearest_neighbours", 9))


def test_attention_needs_maps_on_both_sides():
    maps, passes = Interface({"score": (), "features": (4, 4, 8)}), Interface({"score": (), "features": (4, 8)})
    attention = STRATEGIES["attention"]
    for pair_, side in (((maps, passes), "teacher"), ((passes, maps), "student"), ((passes, None), "student")):
        with pytest.raises(
            InputError, match=rf"{side}\.features has shape \(4, 8\): attention needs a map of an image"
        ):
            attention(*pair_)


def test_features_of_two_kinds_are_no_hint():
    maps, passes = Interface({"score": (), "features": (4, 4, 8)}), Interface({"score": (), "features": (4, 8)})
    with pytest.raises(InputError, match=r"student\.features has shape \(4, 4, 8\) .* the other is not$"):
        STRATEGIES["hint"](maps, passes)


def test_maps_of_two_sizes_are_a_hint_and_draw_attention():
    teacher, student = pair("deep_svdd", 9, base=4, depth=3), pair("score_net", 1, base=4, depth=2)
    shapes = [interface(one, IMAGES[:2]).outputs["features"] for one in (student, teacher)]
    assert shapes == [(4, 4, 8), (2, 2, 16)]
    for name in ("hint", "attention"):
        stages = planned(name, student, teacher, epochs=8, learning_rate=5e-3, own_weight=0)
        found = [sum(row["losses"].values()) for row in run(stages, copy.deepcopy(student), teacher, IMAGES)]
        assert found[-1] < 0.9 * found[0]


def test_reconstructions_of_images_of_two_sizes_are_refused():
    teacher, student = pair("conv_ae", 9, base=4), pair("conv_ae", 1, base=4, size=8)
    with pytest.raises(InputError, match=r"reconstruction has shape \(1, 8, 8\) .*same input size"):
        planned("reconstruction", student, teacher)


def test_relations_need_one_of_the_two_weights():
    teacher, student = teacher_and_student()
    with pytest.raises(InputError, match=r"distance_weight and angle_weight are 0, .*allowed: one or both above 0"):
        planned("relational", student, teacher, distance_weight=0, angle_weight=0)
    (stage,) = planned("relational", student, teacher, distance_weight=0)
    assert not any("distances" in one.name for one in stage.terms())
    assert planned("relational", student, distance_weight=0, angle_weight=0)


def test_response_is_what_it_was():
    """Its stage as it stood in full before it shared its making."""
    sides = Interface({"score": (), "logit": ()}), Interface({"score": ()})
    (stage,) = response(*sides, weight=2.0, own_weight=0.5, queries=("noise",), query_share=0.25, averaging=0.9)
    assert [(one.name, one.weight, one.inputs) for one in stage.terms()] == [
        ("contrast", 0.5, "both"),
        ("distil_score", 2.0, "both"),
    ]
    assert (stage.name, stage.epochs, stage.batch_size, stage.averaging) == ("response", 50, 64, 0.9)
    assert (stage.queries, stage.query_share, stage.calibrated) == (("noise",), 0.25, ())
    assert stage.updates[0].optimizer.betas == (0.5, 0.999)


@pytest.mark.parametrize("name", COPYING)
def test_a_student_without_weights_is_refused(name):
    with pytest.raises(
        InputError, match=r"trains student\.detector, which has no weights to train \(made by: fitted\)"
    ):
        planned(name, pair("isolation_forest", 1), pair("conv_ae", 9, base=4))


@pytest.mark.parametrize("name", [*COPYING, "sequence"])
def test_a_recipe_runs_from_end_to_end(name, tmp_path, monkeypatch):
    monkeypatch.setattr("kdcompress.profiling.profile.latency_ms", lambda *_, **__: 1.0)
    options = {"epochs": 2, "batch_size": 16}
    strategy = {"name": name, **options}
    if name == "sequence":
        strategy = {"name": name, "steps": [{"name": one, **options} for one in ("hint", "hint", "response")]}
    recipe = tiny(student={"name": "conv_ae", "width": 0.2, "latent": 4}, strategy=strategy)
    done = pipeline.run(recipe, tmp_path, where="r.yaml", device="cpu")
    assert done.result.teacher is not None
    assert done.result.control is not None
    rows = [row for row in done.rundir.history() if row["arm"] in {"student", "control"}]
    assert {row["stage"] for row in rows if row["arm"] == "student"} == (
        {"1. hint", "2. hint", "3. response"} if name == "sequence" else {name}
    )
    steps = [[row["step"] for row in rows if row["arm"] == arm] for arm in ("student", "control")]
    assert steps[0] == steps[1]
    # What is there is not trained again.
    assert pipeline.run(recipe, tmp_path, where="r.yaml", device="cpu").result == done.result
