import pytest
import torch

from kdcompress.data.split import hold_out, one_vs_rest, validation_size
from kdcompress.errors import DataError

TRAIN_LABELS = torch.arange(60) % 3
TEST_LABELS = torch.arange(30) % 3


def numbered(count, start=0):
    """Images that carry their own number, so that a sample can be recognised wherever it turns up."""
    return torch.arange(start, start + count).reshape(-1, 1, 1, 1).to(torch.uint8)


def split(normal_class=1, validation=0.25, train_labels=TRAIN_LABELS, test_labels=TEST_LABELS):
    train, test = numbered(len(train_labels)), numbered(len(test_labels), start=100)
    return one_vs_rest("tiny", train, train_labels, test, test_labels, normal_class=normal_class, validation=validation)


def numbers(images):
    return images.flatten().tolist()


@pytest.mark.parametrize("normal_class", [0, 1, 2])
def test_train_and_validation_share_out_the_normals_and_nothing_else(normal_class):
    data = split(normal_class)
    normals = [i for i in range(60) if i % 3 == normal_class]
    assert len(data.validation) == 5
    assert sorted(numbers(data.train) + numbers(data.validation)) == normals


@pytest.mark.parametrize("normal_class", [0, 1, 2])
def test_the_whole_test_set_is_tested_on(normal_class):
    data = split(normal_class)
    assert numbers(data.test) == list(range(100, 130))
    assert data.labels.tolist() == [int(i % 3 != normal_class) for i in range(30)]
    assert data.labels.dtype == torch.int64


def test_classes_sum_up_to_the_training_set():
    parts = [split(normal_class) for normal_class in range(3)]
    assert sorted(sum((numbers(part.train) + numbers(part.validation) for part in parts), [])) == list(range(60))


def test_the_split_ignores_the_global_seed_and_the_test_set():
    torch.manual_seed(1)
    first = split()
    torch.manual_seed(2)
    second = split(test_labels=TEST_LABELS.flip(0))
    assert torch.equal(first.train, second.train)
    assert torch.equal(first.validation, second.validation)


def test_the_split_is_the_one_of_every_release():
    # Golden: published results rest on it. It may change only together with the package's digest number.
    assert numbers(split().validation) == [7, 10, 25, 40, 58]


def test_a_larger_share_holds_out_all_that_a_smaller_one_does():
    kept, held = hold_out(range(50), 10, "x")
    more_kept, more_held = hold_out(range(50), 20, "x")
    assert set(held) < set(more_held)
    assert set(more_kept) < set(kept)
    assert hold_out(range(50), 10, "y")[1] != held


@pytest.mark.parametrize(("normals", "share", "count"), [(100, 0.1, 10), (5, 0.1999, 1), (2, 0.5, 1), (9, 0.9, 8)])
def test_share_is_rounded(normals, share, count):
    assert validation_size("x", normals, share) == count


@pytest.mark.parametrize(
    ("normals", "share"), [(4, 0.1), (4, 0.9), (1, 0.5), (100, 0.0), (100, 1.0), (100, -0.2), (100, float("nan"))]
)
def test_impossible_share_says_what_is_allowed(normals, share):
    with pytest.raises(DataError, match=rf"x: data\.validation = .* of {normals} training normals .*allowed here: "):
        validation_size("x", normals, share)


@pytest.mark.parametrize("normals", [2, 3, 7, 5851])
def test_the_shares_that_the_message_allows_are_allowed(normals):
    with pytest.raises(DataError, match="allowed here") as caught:
        validation_size("x", normals, 1.0)
    low, high = str(caught.value).rstrip(")").split("from ")[1].split(" to ")
    assert validation_size("x", normals, float(low)) == 1
    assert validation_size("x", normals, float(high)) == normals - 1


def test_class_without_training_images_is_refused():
    with pytest.raises(DataError, match=r"data\.normal_class = 7 has no training images \(.*some: 0, 1, 2\)"):
        split(normal_class=7)


def test_class_without_test_images_is_refused():
    with pytest.raises(DataError, match=r"data\.normal_class = 1 has no test images \(.*some: 0\)"):
        split(test_labels=torch.zeros_like(TEST_LABELS))


def test_test_set_without_anomalies_is_allowed():
    assert split(test_labels=torch.ones_like(TEST_LABELS)).labels.sum() == 0


def test_images_and_labels_of_different_number_are_refused():
    with pytest.raises(DataError, match="tiny: 60 training images but 59 training labels"):
        one_vs_rest(
            "tiny",
            numbered(60),
            TRAIN_LABELS[1:],
            numbered(30),
            TEST_LABELS,
            normal_class=0,
            validation=0.1,
        )
