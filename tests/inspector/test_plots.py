"""The figures: what they show, and that every axis says what it is."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from keras_snn.energy import Work
from keras_snn.inspector import DtReport, LayerReport, Rate, Report, plots
from keras_snn.inspector.report import Examples, Latency

pytestmark = pytest.mark.backend_free

RNG = np.random.default_rng(0)


def report(accuracies=(0.5, 0.75, 0.875), dts=(0.001, 0.01, 1.0)):
    def layer(mean):
        return LayerReport(Rate(0, mean, 9), np.zeros(2), {}, silent=0, saturated=0, n_steps=4)

    return Report(
        [
            DtReport(dt, {} if accuracy is None else {"": accuracy}, {"a": layer(i), "b": layer(2 * i)})
            for i, (dt, accuracy) in enumerate(zip(dts, accuracies, strict=True))
        ],
        12_000,
    )


def result(x, *, labels=None, outputs=True, dt=0.01, accuracies=None):
    few = Examples(
        x=x,
        labels=labels or {},
        counts={"a": RNG.integers(0, 3, (2, 6, 5)).astype(float), "b": np.zeros((2, 6, 1))},
        steps=np.array([1, 2, 6]),
        outputs={"": RNG.normal(size=(2, 3, 4))} if outputs else {},
    )
    return DtReport(dt, {"": 0.25} if accuracies is None else accuracies, {}, few)


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


@pytest.mark.every_backend
def test_sweep_without_labels_says_so():
    figure = plots.sweep(report(accuracies=(None,), dts=(None,)))
    assert [text.get_text() for text in figure.axes[0].texts] == ["no labels given"]
    assert [text.get_text() for text in figure.axes[1].get_xticklabels()] == ["own"]


@pytest.mark.parametrize("results", [[], [DtReport(None, {}, {})]], ids=["no results", "no layers"])
def test_a_report_with_nothing_to_draw_is_drawn(results):
    nothing = Report(results, 3)
    assert [text.get_text() for text in plots.sweep(nothing).axes[1].texts] == ["no spiking layers"]
    plots.accuracy_and_energy(plots.new_figure(4, 3).subplots(), nothing)
    assert Report.from_dict(nothing.to_dict()).to_html().startswith("<!doctype html>")


# The examples


def test_examples_show_input_spikes_and_output():
    of_two_images = result(RNG.random((2, 4, 3)), labels={"": np.array([0, 2])})
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
    figure = plots.examples(result(RNG.random((2, 4, 3)), outputs=False, dt=None, accuracies={}))
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


def test_a_time_series_fills_its_panel():
    axes = [grid(plots.examples(result(RNG.random((2, *shape)))))[0][0] for shape in ((50, 3), (4, 12))]
    assert [axis.get_aspect() for axis in axes] == ["auto", 1]


def test_several_inputs_are_not_drawn():
    (axis, *_), _ = grid(plots.examples(result({"a": RNG.random((2, 4)), "b": RNG.random((2, 4))})))
    assert not axis.axison


@pytest.mark.parametrize("y", [np.array([3, 1]), np.array([[3], [1]]), np.eye(4)[[3, 1]]])
def test_labels_of_all_shapes(y):
    rows = grid(plots.examples(result(RNG.random((2, 4)), labels={"": y})))
    assert [row[0].get_title() for row in rows] == ["class 3", "class 1"]


def test_no_examples_is_an_error_that_says_so():
    with pytest.raises(ValueError, match="examples=4"):
        plots.examples(DtReport(0.01, {}, {}))


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


def test_raster_of_negative_spikes_has_a_scale_on_both_sides():
    axis = Figure().subplots()
    plots.raster(axis, np.array([[0, -3], [1, 0]]))
    assert axis.images[0].get_clim() == (-3, 3)


def test_trace_draws_the_chosen_units():
    values = np.arange(12.0).reshape(3, 4)
    axis = Figure().subplots()
    assert plots.trace(axis, values, units=(0, 3), threshold=5) is axis
    assert [line.get_label() for line in axis.lines] == ["unit 0", "unit 3", "threshold"]
    assert [line.get_ydata().tolist() for line in axis.lines[:2]] == [[0, 4, 8], [3, 7, 11]]
    assert axis.lines[0].get_xdata().tolist() == [1, 2, 3]
    assert list(axis.lines[2].get_ydata()) == [5, 5]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("time step", "membrane voltage")


def test_trace_in_milliseconds():
    axis = Figure().subplots()
    plots.trace(axis, np.zeros((3, 2, 2)), dt=0.5, units=[3], ylabel="u")
    assert axis.lines[0].get_xdata().tolist() == [500, 1000, 1500]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("time (ms)", "u")


@pytest.mark.parametrize("unit", [4, -1])
def test_trace_of_a_unit_that_is_not_there_is_an_error(unit):
    with pytest.raises(ValueError, match=f"from 0 to 3; got {unit}"):
        plots.trace(Figure().subplots(), np.zeros((3, 4)), units=[unit])


def test_histogram_shows_shares_up_to_the_last_that_came():
    axis = Figure().subplots()
    counts = {"<0": 0, "0": 90, "1": 8, "2": 0, "3": 2, "4": 0, ">=10": 0}
    assert plots.histogram(axis, counts) is axis
    assert [bar.get_height() for bar in axis.patches] == [90, 8, 0, 2]
    assert [text.get_text() for text in axis.get_xticklabels()] == ["0", "1", "2", "3"]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("spikes in a step", "share of steps (%)")


def test_histogram_with_negative_spikes():
    axis = Figure().subplots()
    plots.histogram(axis, {"<0": 1, "0": 3})
    assert [bar.get_height() for bar in axis.patches] == [25, 75]


def costly(*figures, n_steps=4):
    """Return a report of the pairs (accuracy or dict of them, synaptic operations), at dt = 0, 1, ..."""
    results = []
    for dt, (accuracies, operations) in enumerate(figures):
        accuracies = accuracies if isinstance(accuracies, dict) else {"": accuracies}
        layer = LayerReport(Rate(0, 1, 2), np.zeros(2), {}, silent=0, saturated=0, n_steps=n_steps)
        work = {"d": Work(1.0, operations, 10, 10)}
        results.append(DtReport(dt, accuracies, {"a": layer}, n_steps=n_steps, work=work))
    return Report(results, 10)


def right_of(axis):
    return next(other for other in axis.figure.axes if other is not axis)


def test_accuracy_and_energy_against_dt():
    axis = Figure().subplots()
    # The third is beaten by the second, which is as accurate for less; the last by the fourth, which is better.
    few = costly((0.5, 1e3), (0.75, 2e3), (0.75, 4e3), (0.875, 5e3), (0.8, 5e3))
    assert plots.accuracy_and_energy(axis, few) is axis
    right = right_of(axis)
    accuracy, rings = axis.lines
    assert list(accuracy.get_ydata()) == [50, 75, 75, 87.5, 80]
    assert (list(rings.get_xdata()), list(rings.get_ydata())) == ([0, 1, 3], [50, 75, 87.5])
    np.testing.assert_allclose(right.lines[0].get_ydata(), [1e6 * of.energy("loihi") for of in few])
    assert (axis.get_xlabel(), axis.get_ylabel(), right.get_ylabel()) == (
        "dt (s)",
        "accuracy (%)",
        "energy on loihi (µJ)",
    )
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["accuracy", "trade-off", "energy"]
    assert right.get_yscale() == "linear"
    assert right.get_ylim()[0] == 0


def test_energies_far_apart_are_on_a_logarithmic_scale():
    axis = Figure().subplots()
    plots.accuracy_and_energy(axis, costly((0.5, 1e3), (0.75, 1e6)), device="spinnaker2")
    assert right_of(axis).get_yscale() == "log"
    assert "spinnaker2" in right_of(axis).get_ylabel()


def test_energy_without_accuracy():
    axis = Figure().subplots()
    plots.accuracy_and_energy(axis, costly(({}, 1e3), ({}, 2e3)))
    assert list(axis.lines) == []
    assert len(right_of(axis).lines) == 1


def test_accuracy_and_energy_of_one_of_several_outputs():
    few = costly(({"a": 0.5, "b": 0.25}, 1e3))
    axis = Figure().subplots()
    plots.accuracy_and_energy(axis, few, output="b")
    assert list(axis.lines[0].get_ydata()) == [25]
    with pytest.raises(ValueError, match=r"`output` must be one of \['a', 'b'\]; got None"):
        plots.accuracy_and_energy(Figure().subplots(), few)


def test_several_numbers_of_steps_are_lines_of_their_own():
    both = Report([*costly((0.5, 1e3), (0.75, 2e3), n_steps=4), *costly((0.625, 1e3), (1.0, 2e3), n_steps=8)], 10)
    left, right = plots.sweep(both).axes
    assert {line.get_label(): list(line.get_ydata()) for line in left.lines} == {
        "4 steps": [50, 75],
        "8 steps": [62.5, 100],
    }
    assert [line.get_label() for line in right.lines] == ["a, 4 steps", "a, 8 steps"]
    assert [text.get_text() for text in left.get_xticklabels()] == ["0", "1"]
    axis = Figure().subplots()
    plots.accuracy_and_energy(axis, both)
    assert [line.get_label() for line in right_of(axis).lines] == ["energy, 4 steps", "energy, 8 steps"]


def test_several_outputs_are_lines_of_their_own():
    left, _ = plots.sweep(costly(({"a": 0.5, "b": 0.25}, 1e3))).axes
    assert {line.get_label(): list(line.get_ydata()) for line in left.lines} == {"a": [50], "b": [25]}


def test_rates_begin_at_zero_and_end_above_the_largest():
    _, right = plots.sweep(report()).axes
    low, high = right.get_ylim()
    assert low == 0
    assert high > 4


def test_examples_of_several_outputs():
    one = result(RNG.random((2, 4, 3)))
    outputs = dict.fromkeys("ab", one.examples.output)
    few = replace(one.examples, outputs=outputs, labels={"a": np.array([1, 0])})
    rows = grid(plots.examples(replace(one, examples=few, accuracies={"a": 0.5})))
    assert [axis.get_title() for axis in rows[0]][-2:] == ["a given the first k steps", "b given the first k steps"]
    assert [row[0].get_title() for row in rows] == ["a: class 1", "a: class 0"]


@pytest.mark.parametrize(
    ("y", "titles"),
    [
        (np.array([0.375, 2.0]), ["0.375", "class 2"]),
        (np.array([-1, 7]), ["class -1", "class 7"]),
        (np.array([1, np.nan]), ["one", "nan"]),
        (np.array([[0.5, 0.25], [3, 4]]), ["", ""]),
    ],
)
def test_a_label_without_a_name_is_shown_as_it_is(y, titles):
    figure = plots.examples(result(RNG.random((2, 4)), labels={"": y}, outputs=False), class_names=["nil", "one"])
    assert [row[0].get_title() for row in grid(figure)] == titles


def test_rate_image_of_one_map():
    axis = Figure().subplots()
    rates = RNG.random((4, 6))
    assert plots.rate_image(axis, rates, title="a layer") is axis
    np.testing.assert_array_equal(axis.images[0].get_array(), rates)
    assert axis.get_title() == "a layer"
    (bar,) = [other for other in axis.figure.axes if other is not axis]
    assert bar.get_ylabel() == "Hz"


@pytest.mark.parametrize("channels_first", [False, True])
def test_rate_image_of_many_channels_is_a_grid(channels_first):
    maps = RNG.random((5, 3, 4))
    axis = Figure().subplots()
    plots.rate_image(axis, maps if channels_first else np.moveaxis(maps, 0, -1), channels_first=channels_first)
    image = axis.images[0].get_array()
    assert image.shape == (2 * 4 - 1, 3 * 5 - 1)  # two rows of three maps, with a line between
    np.testing.assert_array_equal(image[:3, 5:9], maps[1])
    np.testing.assert_array_equal(image[4:, :4], maps[3])
    assert image.mask[3].all()
    assert image.mask[4:, 10:].all()  # the sixth place is empty
    assert "5 channels" in axis.get_title()


def test_rate_image_of_a_dense_layer_is_an_error():
    with pytest.raises(ValueError, match=r"got the shape \(7,\)"):
        plots.rate_image(Figure().subplots(), np.zeros(7))


def test_latency_shows_accuracy_confidence_and_early_exits():
    axis = Figure().subplots()
    found = Latency(
        np.array([1, 2, 4]),
        np.array([0.25, 0.5, 0.75]),
        np.array([0.5, 0.5, 1.0]),
        {0.5: (0.25, 1.0), 0.9: (0.5, 2.5)},
    )
    assert plots.latency(axis, found) is axis
    lines = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axis.lines}
    assert lines == {
        "accuracy": ([1, 2, 4], [25, 50, 75]),
        "confidence": ([1, 2, 4], [50, 50, 100]),
        "early exit": ([1, 2.5], [25, 50]),
    }
    assert [text.get_text() for text in axis.texts] == ["0.5", "0.9"]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("first steps", "%")


def test_latency_without_labels():
    axis = Figure().subplots()
    plots.latency(axis, Latency(np.array([1, 2]), None, np.array([0.5, 1.0]), {0.5: (None, 1.0)}))
    assert [line.get_label() for line in axis.lines] == ["confidence"]
