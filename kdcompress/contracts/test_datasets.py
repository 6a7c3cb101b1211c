"""What every registered data set must do, as far as it can without its files."""

import json

import pytest
import torch

from kdcompress import signature
from kdcompress.data import DATASETS
from kdcompress.errors import MissingDataError

REGISTRY = DATASETS


@pytest.fixture(scope="module")
def data(name):
    build = DATASETS[name]
    if needed := _required(build):
        pytest.skip(f"{name} cannot be built without {', '.join(needed)}")
    try:
        return build(**signature.arguments(build, {}))
    except MissingDataError:
        pytest.skip(f"{name} is not on this machine: set KDCOMPRESS_DATA")


def _required(build):
    return [option.name for option in signature.options(build) if option.default == "required"]


def test_options_are_a_schema(name):
    build = DATASETS[name]
    json.dumps(signature.resolved(build, dict.fromkeys(_required(build), "x")), allow_nan=False)


def test_every_option_is_documented(name):
    assert not [option.name for option in signature.options(DATASETS[name]) if not option.description]


def test_parts_have_one_type_and_shape(data):
    parts = (data.train, data.validation, data.test)
    assert len({part.dtype for part in parts}) == 1
    assert {tuple(part.shape[1:]) for part in parts} == {data.input_shape}
    assert all(len(part) for part in parts)
    assert all(part.is_contiguous() for part in parts)


def test_labels_are_zero_and_one_for_each_test_sample(data):
    assert data.labels.shape == (len(data.test),)
    assert set(data.labels.tolist()) == {0, 1}


def test_no_training_sample_is_a_validation_sample(data):
    if data.name in {"synthetic", "digits"} or len(torch.unique(data.train.flatten(1), dim=0)) == len(data.train):
        train = {bytes(sample.numpy()) for sample in data.train}
        assert not [sample for sample in data.validation if bytes(sample.numpy()) in train]


def test_the_digest_is_of_the_content(name, data):
    build = DATASETS[name]
    assert build(**signature.arguments(build, {})).digest() == data.digest()
