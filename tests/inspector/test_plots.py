"""The figures: their content and the labels of their axes."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from keras_snn.energy import Work
from keras_snn.inspector import DtReport, LayerReport, Rate, Report, plots
from keras_snn.inspector.report import Examples

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
    examples = Examples(
        x=x,
        labels=labels or {},
        counts={"a": RNG.integers(0, 3, (2, 6, 5)).astype(float), "b": np.zeros((2, 6, 1))},
        steps=np.array([1, 2, 6]),
        outputs={"": RNG.normal(size=(2, 3, 4))} if outputs else {},
    )
    layer = LayerReport(Rate(0, 1, 9), np.zeros(2), {}, 0, 0, n_steps=6, spikes_per_inference=12.5)
    return DtReport(dt, {"": 0.25} if accuracies is None else accuracies, {"a": layer}, examples, n_steps=6)


def grid(figure):
    """Return a pair for each example: its heading, and its axes without color bars."""
    examples = []
    for axis in figure.axes:
        if axis.get_label() == "heading":
            examples.append((axis.texts[0], []))
        elif axis.get_label() != "<colorbar>":
            examples[-1][1].append(axis)
    return examples


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
def test_sweep_without_labels_has_a_note():
    figure = plots.sweep(report(accuracies=(None,), dts=(None,)))
    assert [text.get_text() for text in figure.axes[0].texts] == ["no labels given"]
    assert [text.get_text() for text in figure.axes[1].get_xticklabels()] == ["own"]


@pytest.mark.parametrize("results", [[], [DtReport(None, {}, {})]], ids=["no results", "no layers"])
def test_an_empty_report_is_drawn(results):
    empty = Report(results, 3)
    assert [text.get_text() for text in plots.sweep(empty).axes[1].texts] == ["no spiking layers"]
    plots.accuracy_and_energy(plots.new_figure(4, 3).subplots(), empty)
    assert Report.from_dict(empty.to_dict()).to_html().startswith("<!doctype html>")


# The examples


def test_examples_show_input_spikes_and_output():
    two_images = result(RNG.random((2, 4, 3)), labels={"": np.array([0, 2])})
    two_images.examples.outputs[""][:, -1] = [[9, 0, 0, 0], [0, 9, 0, 0]]  # the second prediction is wrong
    figure = plots.examples(two_images, class_names=["nil", "$one$", "two", "three"])
    assert figure.get_suptitle() == "dt = 0.01 s, 6 steps, accuracy 25.00%, 12.5 spikes per inference"
    spikes = [int(of_sample.sum()) for of_sample in two_images.examples.counts["a"]]
    (right, first), (wrong, second) = grid(figure)
    assert right.get_text() == f"Example 1: nil, prediction: nil; {spikes[0]} spikes"
    assert wrong.get_text() == f"Example 2: two, prediction: $one$ (wrong); {spikes[1]} spikes"
    assert (right.get_color(), wrong.get_color()) == ("black", "C3")
    figure.canvas.draw()  # a dollar sign does not start a formula
    for n, row in zip(spikes, (first, second), strict=True):
        assert [axis.get_title() for axis in row] == [
            *("input", f"a\n{n} spikes", "b\n0 spikes", "output\nafter the first k steps")
        ]
        image, a, b, output = row
        assert image.images[0].get_array().shape == (4, 3)
        assert a.images[0].get_array().shape == (5, 6)
        assert b.images[0].get_array().shape == (1, 6)
        assert (a.get_ylabel(), b.get_ylabel(), output.get_ylabel()) == ("unit", "unit", "probability")
        assert [axis.get_xlabel() for axis in (a, b, output)] == ["time step", "time step", "first k steps"]


def test_examples_without_outputs_and_labels():
    figure = plots.examples(result(RNG.random((2, 4, 3)), outputs=False, dt=None, accuracies={}))
    assert figure.get_suptitle() == "each layer's own dt, 6 steps, 12.5 spikes per inference"
    (heading, row), _ = grid(figure)
    assert len(row) == 3
    assert heading.get_text().startswith("Example 1: ")
    assert heading.get_color() == "black"


def test_each_of_several_inputs_is_drawn():
    figure = plots.examples(result({"a": RNG.random((2, 4)), "b": RNG.random((2, 4))}))
    assert [[axis.get_title() for axis in row[:2]] for _, row in grid(figure)] == [["input a", "input b"]] * 2


def test_many_layers_are_drawn_in_several_rows():
    deep = result(RNG.random((2, 4, 3)))
    counts = {f"layer_{i}": deep.examples.counts["a"][:1] for i in range(9)}
    figure = plots.examples(replace(deep, examples=replace(deep.examples, counts=counts)))
    ((_, axes),) = grid(figure)
    assert len(axes) == 11  # the input, nine layers, the output
    assert axes[0].get_gridspec().ncols == 4
    assert figure.get_size_inches()[0] < 12


def test_a_result_without_examples_cannot_be_drawn():
    with pytest.raises(ValueError, match="examples=4"):
        plots.examples(DtReport(0.01, {}, {}))


def costly(*figures, n_steps=4):
    """Return a report at dt = 0, 1, ... from pairs (accuracy or dict of accuracies, synaptic operations)."""
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
    # The second result has the accuracy of the third for less energy. The fourth is more accurate than the
    # last for the same energy.
    swept = costly((0.5, 1e3), (0.75, 2e3), (0.75, 4e3), (0.875, 5e3), (0.8, 5e3))
    assert plots.accuracy_and_energy(axis, swept) is axis
    right = right_of(axis)
    accuracy, rings = axis.lines
    assert list(accuracy.get_ydata()) == [50, 75, 75, 87.5, 80]
    assert (list(rings.get_xdata()), list(rings.get_ydata())) == ([0, 1, 3], [50, 75, 87.5])
    np.testing.assert_allclose(right.lines[0].get_ydata(), [1e6 * single.energy("loihi") for single in swept])
    assert (axis.get_xlabel(), axis.get_ylabel(), right.get_ylabel()) == (
        "dt (s)",
        "accuracy (%)",
        "energy on loihi (µJ)",
    )
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["accuracy", "trade-off", "energy"]
    assert right.get_yscale() == "linear"
    assert right.get_ylim()[0] == 0


def test_a_wide_range_of_energies_has_a_logarithmic_scale():
    axis = Figure().subplots()
    plots.accuracy_and_energy(axis, costly((0.5, 1e3), (0.75, 1e6)), device="spinnaker2")
    assert right_of(axis).get_yscale() == "log"
    assert "spinnaker2" in right_of(axis).get_ylabel()


def test_energy_without_accuracy():
    axis = Figure().subplots()
    plots.accuracy_and_energy(axis, costly(({}, 1e3), ({}, 2e3)))
    assert list(axis.lines) == []
    assert (axis.get_ylabel(), list(axis.get_yticks())) == ("", [])
    assert len(right_of(axis).lines) == 1


def test_accuracy_and_energy_of_one_of_several_outputs():
    swept = costly(({"a": 0.5, "b": 0.25}, 1e3))
    axis = Figure().subplots()
    plots.accuracy_and_energy(axis, swept, output="b")
    assert list(axis.lines[0].get_ydata()) == [25]
    with pytest.raises(ValueError, match=r"`output` must be one of \['a', 'b'\]; got None"):
        plots.accuracy_and_energy(Figure().subplots(), swept)


def test_each_number_of_steps_has_a_line():
    two_runs = Report([*costly((0.5, 1e3), (0.75, 2e3), n_steps=4), *costly((0.625, 1e3), (1.0, 2e3), n_steps=8)], 10)
    left, right = plots.sweep(two_runs).axes
    assert {line.get_label(): list(line.get_ydata()) for line in left.lines} == {
        "4 steps": [50, 75],
        "8 steps": [62.5, 100],
    }
    assert [line.get_label() for line in right.lines] == ["a, 4 steps", "a, 8 steps"]
    assert [text.get_text() for text in left.get_xticklabels()] == ["0", "1"]
    axis = Figure().subplots()
    plots.accuracy_and_energy(axis, two_runs)
    assert [line.get_label() for line in right_of(axis).lines] == ["energy, 4 steps", "energy, 8 steps"]


def test_each_output_has_a_line():
    left, _ = plots.sweep(costly(({"a": 0.5, "b": 0.25}, 1e3))).axes
    assert {line.get_label(): list(line.get_ydata()) for line in left.lines} == {"a": [50], "b": [25]}


def test_many_layers_have_their_legend_beside_the_axis():
    swept = costly((0.5, 1e3))
    deep = [replace(single, layers={f"layer_{i}": single.layers["a"] for i in range(9)}) for single in swept]
    figure = plots.sweep(Report(deep, 10))
    assert figure.axes[1].get_legend() is None
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [f"layer_{i}" for i in range(9)]


def test_rates_begin_at_zero_and_end_above_the_largest():
    _, right = plots.sweep(report()).axes
    low, high = right.get_ylim()
    assert low == 0
    assert high > 4


def test_examples_of_several_outputs():
    single = result(RNG.random((2, 4, 3)))
    outputs = dict.fromkeys("ab", single.examples.output)
    examples = replace(single.examples, outputs=outputs, labels={"a": np.array([1, 0])})
    figure = plots.examples(replace(single, examples=examples, accuracies={"a": 0.5}), class_names={"a": "stuv"})
    assert "accuracy of a 50.00%" in figure.get_suptitle()
    (heading, row), _ = grid(figure)
    assert [axis.get_title() for axis in row][-2:] == ["a\nafter the first k steps", "b\nafter the first k steps"]
    assert heading.get_text().startswith("Example 1: a: t, prediction: ")
    assert "; b: prediction: class " in heading.get_text()
    legends = [[text.get_text() for text in axis.get_legend().get_texts()] for axis in row[-2:]]
    assert set(legends[0]) < set("stuv")
    assert set(legends[1]) < {f"class {k}" for k in range(4)}
