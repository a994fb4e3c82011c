import keras
import numpy as np
import pytest
from keras import ops
from matplotlib.figure import Figure
from reference import teacher_stdp as reference

from keras_snn import models, probe
from keras_snn.ops import teacher_stdp as equations
from keras_snn.ops.random import seed_word, uniform_at_steps

RNG = np.random.default_rng(0)
IMAGES = RNG.random((6, 4, 4)).astype("float32")
LABELS = np.array([0, 1, 1, 0, 1, 0])
SHORT = {"on": 0.01, "off": 0.01}


def values(model):
    return {name: ops.convert_to_numpy(variable) for name, variable in model.carried.items()}


def assert_equal(model, other):
    for name, value in values(model).items():
        np.testing.assert_array_equal(value, values(other)[name], err_msg=name)
    assert int(model.n_presented) == int(other.n_presented)


@pytest.fixture(scope="module")
def trained():
    model = models.TeacherSTDP(**SHORT, seed=3)
    model.fit(IMAGES, LABELS, shuffle=False, verbose=0)
    return model


def test_weights_at_a_spike():
    def after(w, diff, spikes=(1.0, 0.0)):
        z = ops.convert_to_tensor([spikes])
        return ops.convert_to_numpy(equations.weights(ops.full((1, 2), w), ops.full((1, 1), diff), z, 0.05, 1e-3, 1.0))

    np.testing.assert_allclose(after(0.5, 0.2), [[0.509, 0.5]], rtol=1e-6)
    np.testing.assert_array_equal(after(0.0, 0.0), [[0, 0]])
    np.testing.assert_array_equal(after(1.0, 0.5), [[1, 1]])

    def lateral(w, diff):
        start = ops.convert_to_tensor([[0.0, w], [w, 0.0]])
        return ops.convert_to_numpy(equations.lateral_weights(start, ops.full((1, 2), diff), z_first, 0.01))

    z_first = ops.convert_to_tensor([[1.0, 0.0]])
    np.testing.assert_allclose(lateral(-0.5, 0.2), [[0, -0.5], [-0.502, 0]], rtol=1e-6)
    np.testing.assert_allclose(lateral(-0.5, -0.1), [[0, -0.5], [-0.499, 0]], rtol=1e-6)
    np.testing.assert_array_equal(lateral(-1.0, 0.5), [[0, -1], [-1, 0]])
    np.testing.assert_array_equal(lateral(0.0, -0.5), [[0, 0], [0, 0]])


def state_of(n_inputs=1, n=2, **given):
    rows = {name: np.zeros((1, n)) for name in ("v", "I_inp", "I_neg", "hold", "a", "theta")}
    rows |= {name: np.zeros((1, n_inputs)) for name in ("a_inputs", "theta_inputs")}
    rows |= {"w": np.full((n_inputs, n), 0.5), "w_lateral": np.eye(n) - 1, "hold": np.full((1, n), 3.0), **given}
    waits = {"wait": np.zeros((1, n), "int32"), "wait_inputs": np.zeros((1, n_inputs), "int32")}
    return {name: ops.convert_to_tensor(np.asarray(v, "float32")) for name, v in rows.items()} | {
        name: ops.convert_to_tensor(v) for name, v in waits.items()
    }


def test_traces_after_two_input_spikes():
    network, state = equations.Network(), state_of()
    for t in range(101):
        drawn = ops.full((1, 1), float(t in (0, 100)))
        state, _ = network({}, state, (drawn, ops.zeros((1, 2))))
        if t == 0:
            assert float(state["a_inputs"][0, 0]) == pytest.approx(0.1, rel=1e-6)
            assert float(state["theta_inputs"][0, 0]) == pytest.approx(0.01, rel=1e-6)
            np.testing.assert_allclose(ops.convert_to_numpy(state["I_inp"]), [[0.1, 0.1]], rtol=1e-6)
    assert float(state["a_inputs"][0, 0]) == pytest.approx(0.136788, abs=1e-6)
    assert float(state["theta_inputs"][0, 0]) == pytest.approx(0.0190484, abs=1e-7)


def test_a_spike_of_a_hidden_neuron():
    state, outputs = equations.Network()({}, state_of(v=[[4.0, 0.0]]), (ops.zeros((1, 1)), ops.zeros((1, 2))))
    found = {name: ops.convert_to_numpy(value) for name, value in state.items()}
    np.testing.assert_array_equal(ops.convert_to_numpy(outputs["spikes"]), [[1, 0]])
    np.testing.assert_array_equal(found["v"], [[0, 0]])
    decayed = 3 * np.exp(-0.1 / 50)
    np.testing.assert_allclose(found["hold"], [[decayed + 0.2, decayed]], rtol=1e-6)
    np.testing.assert_allclose(found["a"], [[0.1, 0]], rtol=1e-6)
    np.testing.assert_allclose(found["theta"], [[0.01, 0]], rtol=1e-6)
    np.testing.assert_allclose(found["I_neg"], [[0, -1.7]], rtol=1e-6)
    assert found["wait"].tolist() == [[20, 0]]


def test_the_membrane_at_equal_time_constants():
    """The limit of the response at ``tau_current`` = ``tau``."""
    near, equal = (equations.Network(tau_current=tau)._response() for tau in (10 + 1e-6, 10.0))
    assert near == pytest.approx(equal, rel=1e-6)


@pytest.mark.parametrize("teacher", [True, False])
def test_the_network_beside_a_loop(teacher):
    """Each step of two images, in training and with frozen weights."""
    model = models.TeacherSTDP(**SHORT, seed=1, hold=0.1, rate=800)
    model.build((None, 4, 4))
    start = {name: value if name.startswith("w_") or name == "w" else value[0] for name, value in values(model).items()}
    found = model.record(IMAGES[:2], LABELS[:2] if teacher else None, every=1)
    uniform = uniform_at_steps(ops.arange(2, dtype="int32"), ops.arange(100)[None], (16,), seed_word(1))
    drawn, currents = np.zeros((2, 200, 16), bool), np.zeros((2, 200, 2))
    drawn[:, :100] = ops.convert_to_numpy(uniform) < 0.08 * IMAGES[:2].reshape(2, 1, 16)
    if teacher:
        currents[range(2), :100, LABELS[:2]] = 100
    start = {name: value.astype("float64") for name, value in start.items()}
    last, a, spikes, inputs = reference.run(start, drawn.reshape(400, 16), currents.reshape(400, 2), learns=teacher)
    assert spikes.sum() > 3 and inputs.sum() > 50
    np.testing.assert_array_equal(found["spikes"], spikes)
    np.testing.assert_array_equal(found["input_spikes"], inputs)
    np.testing.assert_allclose(found["a"], a, rtol=1e-4, atol=1e-6)  # 400 steps in float32
    for name, value in values(model).items():
        expected = last[name].reshape(value.shape)
        np.testing.assert_allclose(value, expected, rtol=1e-3, atol=1e-5, err_msg=name)  # 400 steps in float32
    assert (np.abs(last["w"] - start["w"]).max() > 1e-3) == teacher


def test_the_rate_of_the_inputs():
    """250 Hz becomes 166.7 Hz. With steps of 0.1 ms, the mean interval is 19 steps more than 40: 169.5 Hz."""
    model = models.TeacherSTDP(on=0.2, off=0)
    spikes = model.record(np.ones((5, 200)), every=1)["input_spikes"]
    rate = spikes.mean() / model.dt
    assert rate == pytest.approx(1e4 / 59, rel=0.01)  # 34,000 spikes: 0.4 %
    gaps = [np.diff(np.flatnonzero(unit)).min() for unit in spikes.T]
    assert min(gaps) == 20


def test_scores_are_the_mean_of_the_last_50_steps(trained):
    twin = keras.models.clone_model(trained)
    twin.set_weights(trained.get_weights())
    found = []
    with probe.scope(record=lambda layer, spikes: found.append(ops.convert_to_numpy(spikes))):
        scores = ops.convert_to_numpy(twin(IMAGES[:2], training=False))
    twin.set_weights(trained.get_weights())
    traces = twin.record(IMAGES[:2], every=1)
    expected = traces["a"].reshape(2, 200, 2)[:, 50:100].mean(axis=1)
    np.testing.assert_allclose(scores, expected, rtol=1e-5)  # sums in float32
    np.testing.assert_array_equal(found[0].reshape(400, 2), traces["spikes"])


def test_fit_and_evaluate(trained, tmp_path):
    """Bounds, the batch size, the seed, no learning in ``predict``, and an identical continuation."""
    w, lateral = values(trained)["w"], values(trained)["w_lateral"]
    assert 0 <= w.min() < w.max() <= 1
    assert -1 <= lateral.min() < 0
    assert np.diag(lateral).tolist() == [0, 0]
    twin = models.TeacherSTDP(**SHORT, seed=3)
    history = twin.fit(IMAGES, LABELS, batch_size=3, shuffle=False, verbose=0).history
    assert history == {"accuracy": [1.0]}  # forced
    assert_equal(trained, twin)

    twin.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_equal(twin, loaded)
    for model in (twin, loaded):
        model.fit(IMAGES, LABELS, batch_size=3, shuffle=False, verbose=0)
    assert int(loaded.n_presented) == 12
    assert_equal(twin, loaded)
    assert not np.array_equal(values(loaded)["w"], w)

    before = values(loaded)
    scores = loaded.predict(IMAGES, verbose=0)
    assert scores.shape == (6, 2)
    accuracy = twin.evaluate(IMAGES, LABELS, verbose=0, return_dict=True)["accuracy"]
    assert accuracy == pytest.approx(np.mean(scores.argmax(axis=1) == LABELS))
    np.testing.assert_array_equal(values(loaded)["w"], before["w"])
    assert not np.array_equal(values(loaded)["a"], before["a"])  # the state runs on
    np.testing.assert_allclose(values(twin)["a"], values(loaded)["a"], rtol=1e-5)  # two compilations
    loaded.learn_during_predict = True
    loaded.predict(IMAGES, verbose=0)
    assert not np.array_equal(values(loaded)["w"], before["w"])


def test_backup_and_restore(tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    def fit(model, *callbacks):
        options = {"epochs": 2, "batch_size": 2, "shuffle": False, "verbose": 0}
        return model.fit(IMAGES[:2], LABELS[:2], callbacks=list(callbacks), **options)

    def backup():
        return keras.callbacks.BackupAndRestore(tmp_path / "backup")

    whole, stopped, continued = (models.TeacherSTDP(**SHORT) for _ in range(3))
    fit(whole)
    with pytest.raises(KeyboardInterrupt):
        fit(stopped, backup(), Stop())
    fit(continued, backup())
    assert_equal(whole, continued)


@pytest.mark.parametrize("labels", [None, [0, 2, 0, 0, 0, 0], [0.5] * 6])
@pytest.mark.backend_free
def test_wrong_labels(labels):
    with pytest.raises(ValueError, match="`y` must be "):
        models.TeacherSTDP(**SHORT).fit(IMAGES, labels)


@pytest.mark.backend_free
def test_record_and_draw_traces(trained):
    """Sums of spikes, samples of all else, and a panel for each trace."""
    twin = keras.models.clone_model(trained)
    found = []
    for every in (1, 20):
        twin.set_weights(trained.get_weights())
        found.append(twin.record(IMAGES[:2], LABELS[:2], every=every))
    each, some = found
    np.testing.assert_allclose(some["t"], 0.002 * np.arange(20))
    np.testing.assert_array_equal(some["spikes"], each["spikes"].reshape(20, 20, 2).sum(axis=1))
    np.testing.assert_array_equal(some["w"], each["w"][::20])
    first, second = 250 * IMAGES[:2].reshape(2, 16)
    np.testing.assert_allclose(each["rates"][[0, 99, 100, 200]], [first, first, 0 * first, second], rtol=1e-6)
    with pytest.raises(ValueError, match="`every` must divide the 200 steps of an image; got 30"):
        twin.record(IMAGES, every=30)

    axes = models.draw_traces(Figure(), some, inputs=[3, 1]).axes
    assert [axis.get_ylabel() for axis in axes][:2] == ["input rate (Hz)", "a of inputs (kHz)"]
    assert [len(axis.lines) for axis in axes] == [2, 2, 2, 2, 2, 4, 2]
    np.testing.assert_array_equal(axes[5].lines[1].get_ydata(), some["w"][:, 3, 1])
    np.testing.assert_array_equal(axes[6].lines[0].get_ydata(), some["w_lateral"][:, 0, 1])
    axes = models.draw_traces(Figure(), some).axes
    assert axes[0].lines[0].get_label() == f"input {some['rates'].mean(axis=0).argmax()}"
