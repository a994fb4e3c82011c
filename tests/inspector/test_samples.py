"""Descriptions and images of examples."""

import numpy as np
import pytest

from keras_snn.inspector import Examples, samples

pytestmark = pytest.mark.backend_free

NAMES = ["nil", "one", "two"]


def examples(labels=None, outputs=None):
    return Examples(np.zeros((2, 3)), labels or {}, {"a": np.zeros((2, 4, 5))}, np.array([1, 4]), outputs or {})


def answers(*classes):
    """Return outputs that predict ``classes`` at the last step, and class 0 before."""
    outputs = np.zeros((len(classes), 2, 3))
    outputs[:, 0, 0] = outputs[np.arange(len(classes)), -1, list(classes)] = 1
    return outputs


@pytest.mark.every_backend
def test_a_wrong_prediction_is_marked():
    two_examples = examples({"": np.array([1, 1])}, {"": answers(1, 2)})
    assert samples.in_words(two_examples, 0, NAMES) == (["one, prediction: one"], False)
    assert samples.in_words(two_examples, 1, NAMES) == (["one, prediction: two (wrong)"], True)
    assert samples.in_words(two_examples, 1) == (["class 1, prediction: class 2 (wrong)"], True)


def test_labels_without_outputs_and_outputs_without_labels():
    assert samples.in_words(examples({"": np.array([1, 2])}), 1, NAMES) == (["two"], False)
    assert samples.in_words(examples(outputs={"": answers(1, 2)}), 1, NAMES) == (["prediction: two"], False)
    assert samples.in_words(examples(), 1, NAMES) == ([], False)


def test_each_of_several_outputs_has_a_line():
    two_examples = examples({"a": np.array([1, 0])}, {"a": answers(1, 2), "b": answers(0, 1)})
    assert samples.in_words(two_examples, 0, NAMES) == (["a: one, prediction: one", "b: prediction: nil"], False)
    lines = ["a: nil, prediction: two (wrong)", "b: prediction: yes"]
    assert samples.in_words(two_examples, 1, {"a": NAMES, "b": ["no", "yes"]}) == (lines, True)


@pytest.mark.parametrize("y", [np.array([2, 1]), np.array([[2], [1]]), np.eye(3)[[2, 1]], np.array([2.0, 1.0])])
def test_labels_of_all_shapes(y):
    two_examples = examples({"": y}, {"": answers(2, 2)})
    assert samples.in_words(two_examples, 0, NAMES) == (["two, prediction: two"], False)
    assert samples.in_words(two_examples, 1, NAMES) == (["one, prediction: two (wrong)"], True)


@pytest.mark.parametrize(
    ("label", "words"),
    [
        (0.375, "0.375"),
        (2.0, "class 2"),
        (-1, "class -1"),
        (7, "class 7"),
        (np.nan, "nan"),
        ([0.5, 0.25], ""),
        (1, "one"),
    ],
)
def test_a_label_without_a_name_is_shown_as_a_number(label, words):
    assert samples.label_in_words(label, ["nil", "one"]) == words


def test_labels_that_are_not_classes_mark_no_prediction_as_wrong():
    two_examples = examples({"": np.array([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25]])}, {"": answers(0, 2)})
    assert samples.in_words(two_examples, 1, NAMES) == (["prediction: two"], False)


def test_images():
    for shape in ((4, 3, 2), (2, 2, 2, 2), (7,)):
        assert samples.as_image(np.zeros(shape)) is None
    assert samples.as_image(np.array([["a"]])) is None
    np.testing.assert_array_equal(samples.as_image(np.array([[[1], [np.inf]]])), [[1, 0]])
    colors = np.array([[[0, 51, 255]]])
    np.testing.assert_array_equal(samples.as_image(colors), [[[0, 0.2, 1]]])
    np.testing.assert_array_equal(samples.as_image(np.array([[[-1, 0.5, 1]]])), [[[0, 0.5, 1]]])


def test_inputs_are_named_by_their_path():
    x = {"a": np.arange(6).reshape(2, 3), "b": [np.arange(2)]}
    assert {name: value.tolist() for name, value in samples.inputs_of(x, 1).items()} == {
        "input a": [3, 4, 5],
        "input b 0": 1,
    }
    assert list(samples.inputs_of(np.zeros((2, 3)), 0)) == ["input"]


def test_numbers_of_spikes():
    assert [samples.spikes_in(np.array(counts)) for counts in ([0, 1], [-1], [600, 634], [0])] == [
        "1 spike",
        "-1 spike",
        "1,234 spikes",
        "0 spikes",
    ]
