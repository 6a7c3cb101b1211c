import copy

import pytest
import torch

from kdcompress import pipeline, plugins, signature
from kdcompress.errors import InputError, RecipeError
from kdcompress.resolve import resolve
from kdcompress.stage import fed
from kdcompress.strategies import STRATEGIES
from kdcompress.strategies.hint import hint
from kdcompress.strategies.progressive import progressive
from kdcompress.strategies.response import response
from kdcompress.strategies.sequence import Step, sequence
from kdcompress.strategies.updates import DistilWeights
from kdcompress.types import Interface
from tests.engine.nets import pair, run, same, weights
from tests.plugin_files import clean, write
from tests.recipes import TINY, tiny

__all__ = ["clean"]
SIDE = Interface({"score": (), "latent": (2,), "reconstruction": (6,), "latent_of_reconstruction": (2,)})
STEPS = (Step(name="latent", epochs=2, batch_size=8), Step(name="response", epochs=1, batch_size=4))


def problems(*steps):
    with pytest.raises(RecipeError) as caught:
        resolve(tiny(strategy={"name": "sequence", "steps": list(steps)}), "r.yaml")
    return list(caught.value.problems)


def test_its_stages_are_those_of_its_steps_in_turn():
    found = sequence(SIDE, SIDE, steps=(Step(name="hint", epochs=3), Step(name="progressive"), Step(name="hint")))
    alone = (*hint(SIDE, SIDE, epochs=3), *progressive(SIDE, SIDE), *hint(SIDE, SIDE))
    assert [one.updates for one in found] == [one.updates for one in alone]
    assert [one.epochs for one in found] == [3, 20, 3, 50]
    assert [one.name for one in found] == [
        *("1. hint", "2. step 1: frozen+gan", "2. step 2: joint+gan", "3. hint"),
    ]


def test_the_control_has_each_steps_stages_without_a_teacher():
    steps = (Step(name="hint", epochs=3), Step(name="response", batch_size=9), Step(name="response"))
    assert [one.updates for one in sequence(SIDE, None, steps=steps)] == [
        *(one.updates for one in (*hint(SIDE, epochs=3), *response(SIDE, batch_size=9), *response(SIDE))),
    ]
    names = [one.name for one in sequence(SIDE, None, steps=steps)]
    assert names == ["1. alone", "2. alone", "3. alone"]


def test_sequences_of_sequences_have_stages_of_different_names():
    inner = {"name": "sequence", "steps": [{"name": "latent"}, {"name": "latent"}]}
    names = [one.name for one in sequence(SIDE, SIDE, steps=(Step(**inner), Step(**inner)))]
    assert len(set(names)) == len(names) == 4


def test_each_step_goes_on_from_what_the_last_one_left():
    student, teacher = pair(1, critic=False), pair(2, critic=False)
    by_hand = copy.deepcopy(student)
    stages, _ = fed(sequence(SIDE, SIDE, steps=STEPS), SIDE, SIDE)
    rows = run(stages, student, teacher)
    assert [row["stage"] for row in rows] == ["1. latent", "1. latent", "2. response"]
    first = run(stages[:1], by_hand, teacher)
    assert first[-1]["losses"] == rows[1]["losses"]
    assert not same(weights(by_hand.detector), weights(student.detector))


def test_a_step_has_all_of_its_options():
    (step,) = [Step(name="response", epochs="3")]
    assert step.options["epochs"] == 3
    assert set(step.options) == {
        *("epochs", "learning_rate", "schedule", "batch_size", "averaging", "weight", "own_weight"),
        *("queries", "query_share"),
    }
    recipe = tiny(strategy={"name": "sequence", "steps": [{"name": "response", "epochs": 3}]})
    (resolved,) = resolve(recipe, "r.yaml").strategy.options["steps"]
    assert resolved == {"name": "response", **step.options, "queries": ["noise", "mixes", "shuffles"]}
    again = tiny(strategy={"name": "sequence", "steps": [resolved]})
    assert resolve(again, "r.yaml").strategy.options["steps"] == [resolved]


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({"name": "respons"}, "strategy.steps.1.name: unknown strategy 'respons'; did you mean 'response'? (allowed: "),
        ({"name": "hint", "epoch": 3}, "strategy.steps.1.epoch: unknown key 'epoch'; did you mean 'epochs'? (allowed"),
        ({"name": "hint", "epochs": 0}, "strategy.steps.1.epochs: input should be greater than or equal to 1, not 0"),
        ({"name": "hint", "epochs": True}, "strategy.steps.1.epochs: input should be a number, not true"),
        ({"epochs": 3}, "strategy.steps.1.name: missing"),
        ("hint", "strategy.steps.1: input should be a mapping of keys"),
        ({"name": "hint", "outputs": ["latnt"]}, "strategy.steps.1.outputs.0: input should be 'features' or 'latent'"),
        (
            {"name": "progressive", "steps": [{}, {"teacher": "frosen"}]},
            "strategy.steps.1.steps.1.teacher: input should be 'frozen' or 'joint', not 'frosen'; did you mean",
        ),
        (
            {"name": "sequence", "steps": [{"name": "hnt"}]},
            "strategy.steps.1.steps.0.name: unknown strategy 'hnt'; did you mean 'hint'?",
        ),
        (
            {"name": "frozen", "distil_weights": dict.fromkeys(vars(DistilWeights()), 0)},
            "strategy.steps.1.distil_weights: all are 0, so nothing would be learned from the teacher",
        ),
    ],
)
def test_a_wrong_step_is_named_where_it_stands(step, said):
    (found,) = problems({"name": "response"}, step)
    assert found.startswith(said)


def test_all_wrong_steps_are_named_at_once():
    found = problems({"name": "hint", "weight": -1, "x": 1}, {"name": "y"})
    assert [one.partition(":")[0] for one in found] == [
        *("strategy.steps.0.weight", "strategy.steps.0.x", "strategy.steps.1.name"),
    ]


def test_steps_are_shown_as_in_a_recipe():
    (option,) = signature.options(sequence)
    assert option.annotation == "list of {name, ...} (length >= 1)"
    assert option.default == "[{name: hint}, {name: response}]"


def test_queries_that_do_not_fit_are_named_by_their_stage(tmp_path):
    recipe = tiny(
        data={**TINY["data"], "height": 12},
        strategy={"name": "sequence", "steps": [{"name": "latent"}, {"name": "response", "queries": ["turns"]}]},
    )
    with pytest.raises(InputError, match=r"strategy: stage '2\. response': queries: 'turns' is for square images"):
        pipeline.run(recipe, tmp_path, where="r.yaml", device="cpu")


def test_no_step_is_refused():
    assert problems() == ["strategy.steps: input should have at least 1 in its list, not 0"]


def test_a_step_that_does_not_fit_is_named():
    with pytest.raises(InputError, match=r"^steps\.1 \(response\): weight: 0, so nothing would be learned"):
        sequence(SIDE, SIDE, steps=(Step(name="latent"), Step(name="response", weight=0)))
    with pytest.raises(InputError, match=r"nothing to learn from the teacher in stage '2\. attention'"):
        fed(sequence(SIDE, SIDE, steps=(Step(name="latent"), Step(name="attention"))), SIDE, SIDE)


def test_a_step_may_come_from_a_plug_in_which_the_recipe_then_wants(clean, tmp_path):
    text = """
        import kdcompress as kd

        @kd.STRATEGIES.register("{name}")
        def mine(student: kd.Interface, teacher: kd.Interface | None = None) -> tuple[kd.Stage, ...]:
            "Train on nothing at all, for tests."
            return ()
    """
    loaded = plugins.load(write(tmp_path, text=text, name="mine"))
    inner = {"name": "sequence", "steps": [{"name": "mine"}]}
    for steps in ([{"name": "mine"}], [{"name": "response"}, inner]):
        found = resolve(tiny(strategy={"name": "sequence", "steps": steps}), "r.yaml")
        assert [(one.file, one.sha256) for one in found.plugins] == [(loaded.origin.name, loaded.origin.sha256)]
    assert resolve(tiny(strategy={"name": "sequence"}), "r.yaml").plugins == ()


def test_weights_of_a_step_reach_the_loss():
    torch.manual_seed(0)
    stages = STRATEGIES["sequence"](SIDE, SIDE, steps=(Step(name="latent", weight=3.0, own_weight=0),))
    assert [(one.name, one.weight) for one in stages[0].terms()] == [("distil_latent", 3.0)]
