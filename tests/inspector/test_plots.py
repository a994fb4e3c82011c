"""The figures: what they show, and that every axis says what it is."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from keras_snn.inspector import DtReport, LayerReport, Rate, Report, plots
from keras_snn.inspector.report import Examples

RNG = np.random.default_rng(0)


def report(accuracies=(0.5, 0.75, 0.875), dts=(0.001, 0.01, 1.0)):
    def layer(mean):
        return LayerReport(Rate(0, mean, 9), np.zeros(2), {}, silent=0, saturated=0, n_steps=4)

    return Report(
        [
            DtReport(dt, accuracy, {"a": layer(i), "b": layer(2 * i)})
            for i, (dt, accuracy) in enumerate(zip(dts, accuracies, strict=True))
        ],
        12_000,
    )


def result(x, *, y=None, outputs=True, dt=0.01, accuracy=0.25):
    few = Examples(
        x=x,
        y=y,
        counts={"a": RNG.integers(0, 3, (2, 6, 5)).astype(float), "b": np.zeros((2, 6, 1))},
        steps=np.array([1, 2, 6]),
        outputs=RNG.normal(size=(2, 3, 4)) if outputs else None,
    )
    return DtReport(dt, accuracy, {}, few)


def grid(figure):
    """Return the axes row by row, without colour bars."""
    axes = [axis for axis in figure.axes if axis.get_label() != "<colorbar>"]
    n_columns = axes[0].get_gridspec().ncols
    return [axes[i : i + n_columns] for i in range(0, len(axes), n_columns)]


# The sweep


def test_sweep_shows_accuracy_and_rates_against_dt():
    figure = plots.sweep(report())
    assert isinstance(figure, Figure)
    left, right = figure.axes
    assert left.lines[0].get_ydata().tolist() == [50, 75, 87.5]
    assert [text.get_text() for text in left.texts] == ["50.0", "75.0", "87.5"]
    assert {line.get_label(): list(line.get_ydata()) for line in right.lines} == {"a": [0, 1, 2], "b": [0, 2, 4]}
    assert [text.get_text() for text in right.get_legend().get_texts()] == ["a", "b"]
    for axis in figure.axes:
        assert axis.get_xlabel() == "dt (s)"
        assert [text.get_text() for text in axis.get_xticklabels()] == ["0.001", "0.01", "1"]
    assert (left.get_ylabel(), right.get_ylabel()) == ("accuracy (%)", "mean firing rate (Hz)")
    assert "12,000" in left.get_title()


def test_sweep_without_labels_says_so():
    figure = plots.sweep(report(accuracies=(None,), dts=(None,)))
    assert [text.get_text() for text in figure.axes[0].texts] == ["no labels given"]
    assert [text.get_text() for text in figure.axes[1].get_xticklabels()] == ["own"]


# The examples


def test_examples_show_input_spikes_and_output():
    of_two_images = result(RNG.random((2, 4, 3)), y=np.array([0, 2]))
    figure = plots.examples(of_two_images, class_names=["nil", "one", "two", "three"])
    rows = grid(figure)
    assert [len(row) for row in rows] == [4, 4]
    assert figure.get_suptitle() == "dt = 0.01 s, accuracy 25.0 %"
    assert [axis.get_title() for axis in rows[0]] == [
        "nil",
        "a: spikes in each step",
        "b: spikes in each step",
        "output given the first k steps",
    ]
    assert rows[1][0].get_title() == "two"
    for image, a, b, output in rows:
        assert image.images[0].get_array().shape == (4, 3)
        assert a.images[0].get_array().shape == (5, 6)
        assert b.images[0].get_array().shape == (1, 6)
        assert (a.get_ylabel(), b.get_ylabel(), output.get_ylabel()) == ("unit", "unit", "probability")
    assert [axis.get_xlabel() for axis in rows[-1][1:]] == ["time step", "time step", "steps k"]


def test_examples_without_outputs_and_labels():
    figure = plots.examples(result(RNG.random((2, 4, 3)), outputs=False, dt=None, accuracy=None))
    rows = grid(figure)
    assert [len(row) for row in rows] == [3, 3]
    assert figure.get_suptitle() == "the model's own dt"
    assert [axis.get_xlabel() for axis in rows[-1][1:]] == ["time step"] * 2
    assert rows[0][0].get_title() == ""


@pytest.mark.parametrize(
    ("shape", "drawn"),
    [((4, 3), (4, 3)), ((4, 3, 1), (4, 3)), ((4, 3, 3), (4, 3, 3)), ((7,), 7), ((4, 3, 2), None), ((2, 2, 2, 2), None)],
)
def test_inputs_of_all_shapes(shape, drawn):
    axis = grid(plots.examples(result(RNG.random((2, *shape)))))[0][0]
    if isinstance(drawn, tuple):
        assert axis.images[0].get_array().shape == drawn
    elif drawn is not None:
        assert len(axis.lines[0].get_ydata()) == drawn
        assert axis.get_xlabel() == "feature"
    else:
        assert not axis.axison


def test_several_inputs_are_not_drawn():
    (axis, *_), _ = grid(plots.examples(result({"a": RNG.random((2, 4)), "b": RNG.random((2, 4))})))
    assert not axis.axison


@pytest.mark.parametrize("y", [np.array([3, 1]), np.array([[3], [1]]), np.eye(4)[[3, 1]]])
def test_labels_of_all_shapes(y):
    rows = grid(plots.examples(result(RNG.random((2, 4)), y=y)))
    assert [row[0].get_title() for row in rows] == ["class 3", "class 1"]


def test_no_examples_is_an_error_that_says_so():
    with pytest.raises(ValueError, match="examples=4"):
        plots.examples(DtReport(0.01, None, {}))


# The single panels


def test_raster_puts_steps_and_units_at_their_numbers():
    axis = Figure().subplots()
    counts = np.array([[0, 1], [0, 0], [7, 0]])
    assert plots.raster(axis, counts) is axis
    (image,) = axis.images
    np.testing.assert_array_equal(image.get_array(), counts.T)
    assert list(image.get_extent()) == [0.5, 3.5, -0.5, 1.5]  # steps from 1, units from 0
    assert image.get_clim() == (0, 7)


def test_raster_of_silence_has_a_scale():
    axis = Figure().subplots()
    plots.raster(axis, np.zeros((3, 2)))
    assert axis.images[0].get_clim() == (0, 1)


def test_output_over_time_names_the_largest_at_the_end():
    axis = Figure().subplots()
    outputs = np.array([[0.7, 0.1, 0.1, 0.1], [0.0, 0.5, 0.2, 0.3]])
    assert plots.output_over_time(axis, [1, 5], outputs, class_names="abcd", n_classes=2) is axis
    assert sorted(text.get_text() for text in axis.get_legend().get_texts()) == ["b", "d"]
    for k, line in enumerate(axis.lines):
        assert line.get_xdata().tolist() == [1, 5]
        np.testing.assert_array_equal(line.get_ydata(), outputs[:, k])


def test_outputs_that_are_no_probabilities_go_through_softmax():
    axis = Figure().subplots()
    logits = np.array([[0.0, np.log(3.0)], [1000.0, 1000.0]])
    plots.output_over_time(axis, [1, 2], logits)
    # atol: exp and log in float64
    np.testing.assert_allclose([line.get_ydata() for line in axis.lines], [[0.25, 0.5], [0.75, 0.5]], atol=1e-12)
