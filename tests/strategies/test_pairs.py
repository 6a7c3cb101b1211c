from pathlib import Path

import pytest

from kdcompress.architectures import ARCHITECTURES
from kdcompress.errors import InputError
from kdcompress.signature import required
from kdcompress.strategies import STRATEGIES
from kdcompress.strategies.pairs import SHAPES, table, trials

PAGE = Path(__file__).parent.parent.parent / "docs" / "strategies.md"
MARK = "<!-- kdcompress list strategies --pairs -->\n\n"


def works(strategy, shape):
    return {(one.teacher, one.student) for one in trials(shape) if one.strategy == strategy and not one.why}


def test_the_committed_table_is_what_the_function_returns():
    _, mark, committed = PAGE.read_text(encoding="utf-8").partition(MARK)
    assert mark
    assert committed == table()


def test_the_page_names_every_strategy():
    above = PAGE.read_text(encoding="utf-8").partition(MARK)[0]
    assert not [name for name in STRATEGIES.builtins() if f"`{name}`" not in above]


def test_every_strategy_works_with_some_pair():
    tried = [one for shape in SHAPES for one in trials(shape)]
    assert {one.strategy for one in tried if not one.why} == set(STRATEGIES)
    assert {one.teacher for one in tried} == {one.student for one in tried}
    assert {one.teacher for one in tried} == {
        one for one in ARCHITECTURES.builtins() if not required(ARCHITECTURES[one])
    }


def test_scores_are_learned_from_anybody_by_whatever_can_be_trained():
    found = works("response", (8,))
    trained = {
        *("affine_net", "conv1d_ae", "conv1d_ede_gan", "deep_svdd", "ensemble"),
        *("mlp_ae", "mlp_ede_gan", "prototypes", "score_net", "vae"),
    }
    assert {student for _, student in found} == trained
    assert {teacher for teacher, _ in found} == {*trained, "isolation_forest", "nearest_neighbours"}
    assert len(found) == 10 * 12


def test_attention_is_of_images_and_of_families_with_maps():
    maps = {"conv_ae", "deep_svdd", "ede_gan", "score_net"}
    assert works("attention", (1, 16, 16)) == {(one, other) for one in maps for other in maps}
    assert works("attention", (8,)) == set()


def test_why_not_is_what_a_run_would_say():
    (one,) = [
        one
        for one in trials((8,))
        if (one.strategy, one.teacher, one.student) == ("latent", "isolation_forest", "mlp_ae")
    ]
    assert one.why == "nothing to learn from the teacher in stage 'latent': student.distil_latent needs other latent"


def test_only_families_that_take_the_input_are_tried():
    assert "conv_ae" not in {one.teacher for one in trials((8,))}
    with pytest.raises(InputError, match="conv_ae takes images"):
        ARCHITECTURES["conv_ae"]((8,))
