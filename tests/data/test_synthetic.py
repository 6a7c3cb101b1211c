import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score

from kdcompress.data import synthetic as module
from kdcompress.data.synthetic import synthetic
from kdcompress.errors import DataError


@pytest.mark.parametrize("options", [{}, {"seed": 1}, {"channels": 3, "height": 32, "width": 32}, {"height": 8}])
def test_a_linear_reconstruction_learns_it(options):
    data = synthetic(**options)
    train, test = (part.flatten(1).double().numpy() for part in (data.train, data.test))
    model = PCA(8).fit(train)
    errors = ((test - model.inverse_transform(model.transform(test))) ** 2).sum(1)
    assert roc_auc_score(data.labels, errors) > 0.9


def test_counts_and_shapes():
    data = synthetic(channels=2, height=6, width=10, train=40, test=31, validation=0.1)
    assert data.train.shape == (36, 2, 6, 10)
    assert data.validation.shape == (4, 2, 6, 10)
    assert data.test.shape == (31, 2, 6, 10)
    assert data.labels.tolist() == [0] * 16 + [1] * 15
    assert data.train.dtype == torch.uint8
    assert data.labels.dtype == torch.int64
    assert data.normal_class is None


def test_same_options_same_data_whatever_the_global_seed():
    torch.manual_seed(1)
    first = synthetic().digest()
    torch.manual_seed(2)
    assert synthetic().digest() == first
    assert synthetic(seed=1).digest() != first


def test_parts_share_no_image_even_without_noise(rows, monkeypatch):
    monkeypatch.setattr(module, "_NOISE", 0.0)
    data = synthetic()
    parts = [rows(part) for part in (data.train, data.validation, data.test)]
    assert len(set.union(*parts)) == sum(len(part) for part in parts) == 512


def test_training_normals_do_not_depend_on_the_test_set():
    assert torch.equal(synthetic(test=10).train, synthetic(test=20).train)


def test_pixels_are_seldom_clipped():
    images = synthetic().train
    assert ((images == 0) | (images == 255)).float().mean() < 0.05


def test_too_few_samples_for_the_share_is_refused():
    with pytest.raises(DataError, match=r"synthetic: data\.validation = 0\.1 of 3 training normals"):
        synthetic(train=3, validation=0.1)
