"""Panels: the content of each axis."""

import math

import numpy as np
import pytest
from matplotlib.figure import Figure

from keras_snn.inspector import Latency, panels

pytestmark = pytest.mark.backend_free

RNG = np.random.default_rng(0)


@pytest.mark.every_backend
def test_raster_axes_are_steps_and_units():
    axis = Figure().subplots()
    counts = np.array([[0, 1], [0, 0], [7, 0]])
    assert panels.raster(axis, counts) is axis
    (image,) = axis.images
    np.testing.assert_array_equal(image.get_array(), counts.T)
    assert list(image.get_extent()) == [0.5, 3.5, -0.5, 1.5]  # steps from 1, units from 0
    assert colors_of(axis, 0, 1, 7)[0] == (1, 1, 1)
    assert (axis.get_xlabel(), axis.get_ylabel(), bar_of(axis)) == ("time step", "unit", "spikes in a step")


def colors_of(axis, *numbers):
    """Return the color of each number of spikes in a raster."""
    (image,) = axis.images
    return [tuple(image.cmap(image.norm(n))[:3]) for n in numbers]


def bar_of(axis):
    (bar,) = [other_axis for other_axis in axis.figure.axes if other_axis is not axis]
    return bar.get_ylabel()


@pytest.mark.parametrize("most", [1, 2, 30, 100_000])
def test_one_spike_is_visible_for_any_max(most):
    axis = Figure().subplots()
    panels.raster(axis, np.array([[0, 1, most]]))
    zero_spikes, one_spike, most_spikes = colors_of(axis, 0, 1, most)
    assert (zero_spikes, most_spikes) == ((1, 1, 1), (0, 0, 0))
    assert max(one_spike) <= (0.71 if most < 1000 else 1)  # above a thousand, one spike may be invisible


def test_a_convolution_shows_its_busiest_units():
    counts = np.zeros((4, 10_000))
    busy = RNG.choice(10_000, panels.MOST_UNITS, replace=False)
    counts[1, :] = np.arange(10_000) % 2  # half of the units: one spike
    counts[2, busy] = 2
    axis = Figure().subplots()
    panels.raster(axis, counts)
    np.testing.assert_array_equal(axis.images[0].get_array(), counts[:, np.sort(busy)].T)
    assert axis.get_ylabel() == f"{panels.MOST_UNITS} most active of 10,000 units,\nin ascending order"
    assert len(axis.get_yticks()) == 0  # ticks would not be unit numbers


def test_many_steps_are_added_up_in_bins():
    counts = np.ones((2 * panels.MOST_STEPS + 1, 2))
    axis = Figure().subplots()
    panels.raster(axis, counts)
    shown = axis.images[0].get_array()
    assert shown.shape == (2, math.ceil(len(counts) / 3))
    assert shown.sum() == counts.sum()
    assert bar_of(axis) == "spikes in 3 steps"
    assert axis.get_xlim() == (0.5, len(counts) + 0.5)


def test_raster_of_silence_has_a_scale():
    axis = Figure().subplots()
    panels.raster(axis, np.zeros((3, 2)))
    assert colors_of(axis, 0, 1) == [(1, 1, 1), (0, 0, 0)]


def test_output_over_time_names_the_classes_with_the_largest_last_output():
    axis = Figure().subplots()
    outputs = np.array([[0.7, 0.1, 0.1, 0.1], [0.0, 0.5, 0.2, 0.3]])
    assert panels.output_over_time(axis, [1, 5], outputs, class_names="abcd", n_classes=2) is axis
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["b", "d"]
    for k, line in zip((0, 2, 1, 3), axis.lines, strict=True):  # lines with a name are drawn last, in front
        assert line.get_xdata().tolist() == [1, 5]
        np.testing.assert_array_equal(line.get_ydata(), outputs[:, k])
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("first k steps", "probability")


def test_a_long_name_of_a_class_is_cut():
    axis = Figure().subplots()
    panels.output_over_time(axis, [1], np.eye(2)[:1], class_names=["a very long name of a class", "b"])
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["a very long name of…", "b"]


def test_softmax_is_applied_to_outputs_that_are_not_probabilities():
    axis = Figure().subplots()
    logits = np.array([[0.0, np.log(3.0)], [1000.0, 1000.0]])
    panels.output_over_time(axis, [1, 2], logits)
    # atol: exp and log in float64
    shares = sorted(line.get_ydata().tolist() for line in axis.lines)
    np.testing.assert_allclose(shares, [[0.25, 0.5], [0.75, 0.5]], atol=1e-12)


def test_raster_of_negative_spikes_has_a_scale_on_both_sides():
    axis = Figure().subplots()
    panels.raster(axis, np.array([[0, -3], [1, 0]]))
    least, minus_one, zero, plus_one, most = colors_of(axis, -3, -1, 0, 1, 3)
    assert (zero, most) == ((1, 1, 1), (0, 0, 0))
    assert len(set(plus_one)) == 1  # a gray
    assert minus_one[0] > minus_one[2] + 0.2  # orange
    assert least[0] > least[2] + 0.2


@pytest.mark.parametrize(
    ("shape", "drawn"),
    [((4, 3), (4, 3)), ((4, 3, 1), (4, 3)), ((4, 3, 3), (4, 3, 3)), ((7,), 7), ((4, 3, 2), None), ((2, 2, 2, 2), None)],
)
def test_inputs_of_all_shapes(shape, drawn):
    axis = panels.sample_input(Figure().subplots(), RNG.random(shape))
    if isinstance(drawn, tuple):
        assert axis.images[0].get_array().shape == drawn
    elif drawn is not None:
        assert len(axis.lines[0].get_ydata()) == drawn
        assert axis.get_xlabel() == "feature"
    else:
        assert not axis.axison
        assert axis.texts[0].get_text() == f"shape {shape},\nnot drawn"


def test_a_time_series_fills_its_panel():
    axes = [panels.sample_input(Figure().subplots(), RNG.random(shape)) for shape in ((50, 3), (4, 12))]
    assert [axis.get_aspect() for axis in axes] == ["auto", 1]


def test_trace_draws_the_chosen_units():
    values = np.arange(12.0).reshape(3, 4)
    axis = Figure().subplots()
    assert panels.trace(axis, values, units=(0, 3), threshold=5) is axis
    assert [line.get_label() for line in axis.lines] == ["unit 0", "unit 3", "threshold"]
    assert [line.get_ydata().tolist() for line in axis.lines[:2]] == [[0, 4, 8], [3, 7, 11]]
    assert axis.lines[0].get_xdata().tolist() == [1, 2, 3]
    assert list(axis.lines[2].get_ydata()) == [5, 5]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("time step", "membrane voltage")


def test_trace_in_milliseconds():
    axis = Figure().subplots()
    panels.trace(axis, np.zeros((3, 2, 2)), dt=0.5, units=[3], ylabel="u")
    assert axis.lines[0].get_xdata().tolist() == [500, 1000, 1500]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("time (ms)", "u")


@pytest.mark.parametrize("unit", [4, -1])
def test_trace_of_an_unknown_unit_is_an_error(unit):
    with pytest.raises(ValueError, match=f"from 0 to 3; got {unit}"):
        panels.trace(Figure().subplots(), np.zeros((3, 4)), units=[unit])


def test_histogram_ends_at_the_last_nonzero_bin():
    axis = Figure().subplots()
    counts = {"<0": 0, "0": 90, "1": 8, "2": 0, "3": 2, "4": 0, ">=10": 0}
    assert panels.histogram(axis, counts) is axis
    assert [bar.get_height() for bar in axis.patches] == [90, 8, 0, 2]
    assert [text.get_text() for text in axis.get_xticklabels()] == ["0", "1", "2", "3"]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("spikes in a step", "fraction of steps (%)")


def test_histogram_with_negative_spikes():
    axis = Figure().subplots()
    panels.histogram(axis, {"<0": 1, "0": 3})
    assert [bar.get_height() for bar in axis.patches] == [25, 75]


def test_rate_image_of_one_map():
    axis = Figure().subplots()
    rates = RNG.random((4, 6))
    assert panels.rate_image(axis, rates, title="a layer") is axis
    np.testing.assert_array_equal(axis.images[0].get_array(), rates)
    assert axis.get_title() == "a layer"
    (bar,) = [other for other in axis.figure.axes if other is not axis]
    assert bar.get_ylabel() == "Hz"


@pytest.mark.parametrize("channels_first", [False, True])
def test_rate_image_of_many_channels_is_a_grid(channels_first):
    maps = RNG.random((5, 3, 4))
    axis = Figure().subplots()
    panels.rate_image(axis, maps if channels_first else np.moveaxis(maps, 0, -1), channels_first=channels_first)
    image = axis.images[0].get_array()
    assert image.shape == (2 * 4 - 1, 3 * 5 - 1)  # two rows of three maps, with a line between
    np.testing.assert_array_equal(image[:3, 5:9], maps[1])
    np.testing.assert_array_equal(image[4:, :4], maps[3])
    assert image.mask[3].all()
    assert image.mask[4:, 10:].all()  # the sixth place is empty
    assert "5 channels" in axis.get_title()


def test_rate_image_of_a_dense_layer_is_an_error():
    with pytest.raises(ValueError, match=r"got the shape \(7,\)"):
        panels.rate_image(Figure().subplots(), np.zeros(7))


def test_latency_shows_accuracy_confidence_and_early_exits():
    axis = Figure().subplots()
    latency = Latency(
        np.array([1, 2, 4]),
        np.array([0.25, 0.5, 0.75]),
        np.array([0.5, 0.5, 1.0]),
        {0.5: (0.25, 1.0), 0.9: (0.5, 2.5)},
    )
    assert panels.latency(axis, latency) is axis
    lines = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axis.lines}
    assert lines == {
        "accuracy": ([1, 2, 4], [25, 50, 75]),
        "confidence": ([1, 2, 4], [50, 50, 100]),
        "early exit": ([1, 2.5], [25, 50]),
    }
    assert [text.get_text() for text in axis.texts] == ["0.5", "0.9"]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("first k steps", "%")


def test_latency_without_labels():
    axis = Figure().subplots()
    panels.latency(axis, Latency(np.array([1, 2]), None, np.array([0.5, 1.0]), {0.5: (None, 1.0)}))
    assert [line.get_label() for line in axis.lines] == ["confidence"]
