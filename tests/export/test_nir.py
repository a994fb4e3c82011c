"""NIR graphs: against Euler's method in NumPy, and against snnTorch and Norse."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_snn
from keras_snn import IF, LIF, LeakyIntegrator, RecurrentLIF, Repeat, Synaptic, TimeFold
from keras_snn.export import from_nir, nir_round_trip, to_nir
from keras_snn.layers import Delay

nir = pytest.importorskip("nir")
pytestmark = pytest.mark.filterwarnings("ignore:nirtorch:DeprecationWarning")  # of functions that others call

DT = 1e-4
RNG = np.random.default_rng(0)


def outputs(model, x):
    return ops.convert_to_numpy(model(np.asarray(x, "float32")))


def array(*shape, low=0.5, high=1.5):
    return RNG.uniform(low, high, shape)


def kernel(*shape):
    """Return an initializer with the same weights on every backend."""
    values = np.random.default_rng(sum(shape)).normal(0.1, 1.0, shape) / np.sqrt(np.prod(shape[:-1]))
    return lambda requested, dtype=None: ops.convert_to_tensor(values.astype("float32"))


@pytest.fixture(scope="module")
def network():
    """A network of all supported kinds of layers."""
    return keras.Sequential([
        keras.Input((8, 6, 5, 2)),
        TimeFold(keras.layers.ZeroPadding2D((1, 0))),
        TimeFold(keras.layers.Conv2D(4, 3, kernel_initializer=kernel(3, 3, 2, 4), name="conv")),
        LIF(tau=3.0, threshold=0.3, v_reset=-0.25, name="lif"),
        TimeFold(keras.layers.AveragePooling2D((2, 1), name="pool")),
        TimeFold(keras.layers.Flatten(name="flatten")),
        Synaptic(tau=3.0, tau_synapse=2.0, name="synaptic"),
        keras.layers.Dense(20, kernel_initializer=kernel(36, 20), name="dense"),
        RecurrentLIF(tau=4.0, threshold=0.1, recurrent_initializer=kernel(20, 20), name="recurrent"),
        keras.layers.Dense(12, use_bias=False, kernel_initializer=kernel(20, 12), name="linear"),
        keras.layers.Rescaling(0.75, name="scale"),
        IF(name="if"),
        Delay(3, delay_initializer=2, name="delay"),
        keras.layers.Dense(5, kernel_initializer=kernel(12, 5), name="last"),
        LeakyIntegrator(tau=5.0, decay_input=False, name="readout"),
    ])  # fmt: skip


def test_a_round_trip_gives_the_same_outputs(network, tmp_path):
    x = RNG.uniform(0, 2, (3, 8, 6, 5, 2))
    to_nir(network, tmp_path / "model.nir", dt=DT)
    copy = from_nir(tmp_path / "model.nir", n_steps=8)
    expected = outputs(network, x)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(outputs(copy, x), expected, rtol=1e-5, atol=1e-6)  # sums of floats in another order
    table = nir_round_trip(network, x.astype("float32"), dt=DT).splitlines()
    assert table[0].split("  ")[0] == "step"
    assert len(table) == 2 + 8 + 1  # a line for each step
    assert table[-1].endswith("of 120 outputs differ, by at most 0.") or "e-" in table[-1]


def test_parameters_have_full_shapes_and_nodes_have_types(network, tmp_path):
    to_nir(network, tmp_path / "model.nir", dt=DT)
    nodes = nir.read(tmp_path / "model.nir").nodes  # infers the types
    assert list(map(type, nodes.values())).count(nir.NIRGraph) == 1
    assert nodes["lif"].tau.shape == nodes["lif"].v_reset.shape == (4, 6, 3)
    np.testing.assert_allclose(nodes["lif"].tau, 3 * DT)
    assert (nodes["lif"].v_reset == -0.25).all()
    assert (nodes["lif"].v_leak == -0.25).all()
    assert nodes["synaptic"].w_in.shape == (36,)
    np.testing.assert_allclose(nodes["synaptic"].w_in, 2.0)  # tau_syn / dt
    np.testing.assert_allclose(nodes["synaptic"].v_threshold, 1.0)
    np.testing.assert_allclose(nodes["if"].r, 1 / DT)
    np.testing.assert_allclose(nodes["delay"].delay, np.full(12, 2 * DT))
    for name, node in nodes.items():
        assert all(shape is not None for shape in (*node.input_type.values(), *node.output_type.values())), name
    recurrent = nodes["recurrent"]
    assert set(recurrent.edges) == {("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")}
    np.testing.assert_array_equal(recurrent.nodes["w_rec"].weight, outputs_of_weights(network, "recurrent").T)


def outputs_of_weights(model, name):
    return ops.convert_to_numpy(model.get_layer(name).recurrent_kernel)


def test_an_integrator_spikes_after_seventeen_sixteenths():
    """Sixteen steps of 1/16 reach the threshold 1, and the next one exceeds it."""
    model = keras.Sequential([keras.Input((20, 1)), IF(name="if")])
    for layer in (model, from_nir(to_nir(model)), from_nir(to_nir(model, dt=DT), n_steps=20)):
        assert outputs(layer, np.full((1, 20, 1), 0.0625))[0, :, 0].nonzero()[0].tolist() == [16]


def euler(node, x, dt):
    """Return the outputs of a node, by its differential equations with Euler's method. x is ``(time, units)``."""
    v, i, rows = np.zeros(x.shape[1]), np.zeros(x.shape[1]), []
    for current in x:
        if isinstance(node, nir.CubaLIF):
            i = i + dt / node.tau_syn * (node.w_in * current - i)
            v = v + dt / node.tau_mem * (node.v_leak - v + node.r * i)
        elif isinstance(node, nir.IF):
            v = v + dt * node.r * current
        else:
            v = v + dt / node.tau * (node.v_leak - v + node.r * current)
        if isinstance(node, nir.LI):
            rows.append(v)
            continue
        spikes = v > node.v_threshold
        v = np.where(spikes, node.v_reset, v)
        rows.append(spikes)
    return np.array(rows)


@pytest.mark.parametrize("name", ["IF", "LIF", "LIF-divided", "CubaLIF", "LI"])
def test_neurons_equal_eulers_method(name):
    """Units with different constants. The factors r and w_in scale the input, not the threshold."""
    n, zeros = 7, np.zeros(7)
    tau, r = array(n, low=2e-3, high=5e-3), array(n)
    firing = {"v_threshold": array(n), "v_reset": zeros}
    node = {
        "IF": lambda: nir.IF(r=1000 * r, **firing),
        "LIF": lambda: nir.LIF(tau=tau, r=3 * r, v_leak=zeros, **firing),
        "LIF-divided": lambda: nir.LIF(tau=tau, r=np.ones(n), v_leak=zeros, **firing),
        "CubaLIF": lambda: nir.CubaLIF(
            tau_mem=tau, tau_syn=array(n, low=2e-3, high=3e-3), r=r, w_in=0.75 * r, v_leak=zeros, **firing
        ),
        "LI": lambda: nir.LI(tau=tau, r=r, v_leak=zeros),
    }[name]()
    model = from_nir(nir.NIRGraph.from_list(node), dt=1e-3)
    x = RNG.uniform(0, 2, (60, n))
    expected = euler(node, x, 1e-3)
    actual = outputs(model, x[None])[0]
    if name == "LI":
        np.testing.assert_allclose(actual, expected, rtol=1e-5)  # float32
    else:
        np.testing.assert_array_equal(actual, expected)
        assert 0.05 < expected.mean() < 0.95
        (layer,) = (layer for layer in model.layers if isinstance(layer, keras_snn.layers.SpikingNeuron))
        np.testing.assert_allclose(ops.convert_to_numpy(layer.threshold), node.v_threshold, rtol=1e-6)
        again = to_nir(model, dt=1e-3)  # a Scale node and the neuron
        np.testing.assert_array_equal(outputs(from_nir(again), x[None])[0], actual)


def test_images_are_channels_first():
    """A convolution, its flattened output and a linear layer, by sums over arrays with the channels first."""
    weight, bias, last = array(3, 2, 2, 2, low=-1), array(3), array(4, 3 * 3 * 4, low=-1)
    graph = nir.NIRGraph.from_list(
        nir.Input({"input": np.array([2, 4, 5])}),
        nir.Conv2d((4, 5), weight, stride=1, padding=0, dilation=1, groups=1, bias=bias),
        nir.Flatten({"input": np.array([3, 3, 4])}, start_dim=0, end_dim=-1),
        nir.Linear(last),
    )
    x = RNG.normal(size=(2, 4, 5)).astype("float32")
    convolved = np.empty((3, 3, 4))
    for row, column in np.ndindex(3, 4):
        window = x[:, row : row + 2, column : column + 2]
        convolved[:, row, column] = (weight * window).sum(axis=(1, 2, 3)) + bias
    model = from_nir(graph, dt=DT)
    assert model.input_shape == (None, None, 4, 5, 2)
    keras_image = np.moveaxis(x, 0, -1)[None, None]
    np.testing.assert_allclose(outputs(model, keras_image)[0, 0], last @ convolved.reshape(-1), rtol=1e-4, atol=1e-5)
    nodes = to_nir(model).nodes
    np.testing.assert_allclose(nodes["conv2d_kernel"].weight, weight, rtol=1e-6)
    np.testing.assert_allclose(nodes["linear"].weight, last, rtol=1e-6)


def test_branches_pooling_and_convolutions_in_one_dimension():
    inputs = keras.Input((4, 9, 2))
    y = TimeFold(keras.layers.Conv1D(3, 3, strides=2, padding="same", kernel_initializer=kernel(3, 2, 3)))(inputs)
    flat = LIF(threshold=0.1)(TimeFold(keras.layers.Flatten())(y))
    y = LIF(threshold=0.1)(keras.layers.Dense(15, kernel_initializer=kernel(15, 15))(flat))
    branch = keras.layers.Dense(15, kernel_initializer=kernel(15, 15))(y)
    model = keras.Model(inputs, IF(threshold=0.5)(keras.layers.Add()([y, branch])))
    with pytest.raises(ValueError, match="in different orders; put Dense after Flatten"):
        to_nir(keras.Model(inputs, keras.layers.Add()([y, flat])))
    x = RNG.normal(size=(2, 4, 9, 2))
    expected = outputs(model, x)
    assert 0 < expected.mean() < 1
    np.testing.assert_array_equal(outputs(from_nir(to_nir(model)), x), expected)
    ones = np.ones(2, int)
    pooled = nir.NIRGraph.from_list(
        nir.Input({"input": np.array([1, 4, 4])}),
        nir.SumPool2d(kernel_size=2 * ones, stride=2 * ones, padding=0 * ones),
    )
    image = RNG.normal(size=(1, 1, 4, 4, 1))
    sums = image.reshape(2, 2, 2, 2).sum(axis=(1, 3)).reshape(1, 1, 2, 2, 1)
    np.testing.assert_allclose(outputs(from_nir(pooled, dt=DT), image), sums, rtol=1e-5, atol=1e-6)


def test_layers_before_repeat_run_at_each_step():
    model = keras.Sequential([
        keras.Input((5,)),
        keras.layers.Dense(6, kernel_initializer=kernel(5, 6)),
        Repeat(7),
        LIF(tau=3.0, threshold=0.3),
    ])  # fmt: skip
    x = RNG.uniform(0, 2, (3, 5))
    copy = from_nir(to_nir(model))
    np.testing.assert_array_equal(outputs(copy, np.repeat(x[:, None], 7, axis=1)), outputs(model, x))
    assert "0 of 126 outputs differ" in nir_round_trip(model, x.astype("float32"))


def test_what_nir_cannot_express_is_listed_and_nothing_is_written(tmp_path):
    model = keras.Sequential([
        keras.Input((4, 6, 6, 2)),
        TimeFold(keras.layers.Conv2D(4, 3, groups=2, name="grouped")),
        TimeFold(keras.layers.MaxPooling2D(name="pool")),
        TimeFold(keras.layers.Flatten()),
        keras.layers.Dense(3, activation="relu", name="relu"),
        LIF(reset="subtract", name="lif"),
        IF(refractory=2, name="if"),
        keras_snn.layers.TemporalAveragePooling(name="average"),
    ])  # fmt: skip
    with pytest.raises(ValueError, match="Nothing was written") as caught:
        to_nir(model, tmp_path / "model.nir")
    lines = str(caught.value).splitlines()[1:]
    assert [line.split("'")[1] for line in lines] == ["grouped", "pool", "relu", "lif", "if", "average"] or [
        line.split("'")[1] for line in lines[2:]
    ] == ["relu", "lif", "if", "average"]
    assert "use AveragePooling2D" in str(caught.value)
    assert "train with reset='zero'" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_what_keras_cannot_express_is_listed():
    n = np.ones(3)
    nodes = {
        "input": nir.Input({"input": np.array([3])}),
        "integrator": nir.I(r=n),
        "leak": nir.LIF(tau=n, r=n, v_leak=n, v_threshold=2 * n, v_reset=0 * n),
        "fast": nir.LI(tau=1e-6 * n, r=n, v_leak=0 * n),
        "output": nir.Output({"output": np.array([3])}),
    }
    names = list(nodes)
    graph = nir.NIRGraph(nodes, [*(("input", name) for name in names[1:4]), ("fast", "output")])
    with pytest.raises(ValueError, match="Nothing was built") as caught:
        from_nir(graph, dt=DT)
    message = str(caught.value)
    assert "'integrator' (I): Keras has no such layer" in message
    assert "'leak' (LIF): v_leak must equal v_reset, 0" in message
    assert "'fast' (LI): tau = 1e-06 s is shorter than a step of 0.0001 s" in message
    with pytest.raises(ValueError, match="`dt` must be given.*snnTorch need dt=1e-4"):
        from_nir(graph)


def by_steps(net, x):
    """Return the outputs of a PyTorch network that returns (outputs, state), or outputs."""
    import torch

    state, rows = None, []
    for step in np.swapaxes(x, 0, 1):
        results = net(torch.from_numpy(step.copy())) if state is None else net(torch.from_numpy(step.copy()), state)
        y, state = results if isinstance(results, tuple) else (results, None)
        rows.append((y[0] if isinstance(y, tuple) else y).detach().numpy())
    return np.stack(rows, axis=1)


X = np.random.default_rng(1).uniform(0, 1, (4, 50, 6)).astype("float32")


@pytest.mark.parametrize(("reset", "delay"), [("zero", False), ("subtract", True)])
def test_graphs_of_snntorch(reset, delay):
    """Spikes equal those of snnTorch with its default, and with the reset of NIR."""
    torch = pytest.importorskip("torch")
    snn = pytest.importorskip("snntorch")
    export_nir = pytest.importorskip("snntorch.export_nir")
    torch.manual_seed(0)
    options = {"init_hidden": True, "reset_mechanism": reset, "reset_delay": delay}
    beta, threshold = torch.full((8,), 0.75), torch.full((8,), 0.5)
    last = snn.Synaptic(alpha=0.5 * beta[:5], beta=beta[:5], threshold=threshold[:5], output=True, **options)
    parts = [torch.nn.Linear(6, 8), snn.Leaky(beta=beta, threshold=threshold, **options), torch.nn.Linear(8, 5), last]
    net = torch.nn.Sequential(*parts)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(3)

        def run(step):
            return net(step)[0]

        expected = by_steps(run, X)
    for part in parts:
        if hasattr(part, "reset_mem"):
            part.reset_mem()
    graph = export_nir.export_to_nir(net, torch.from_numpy(X[:, 0]), ignore_dims=[0])
    actual = outputs(from_nir(graph, dt=1e-4, reset=reset, reset_delay=delay), X)
    assert 0.1 < expected.mean() < 0.9
    np.testing.assert_array_equal(actual, expected)


def ours():
    return keras.Sequential([
        keras.Input((None, 6)),
        keras.layers.Dense(8, kernel_initializer=kernel(6, 8)),
        LIF(tau=4.0, threshold=0.25, decay_input=False),
        keras.layers.Dense(5, kernel_initializer=kernel(8, 5)),
        Synaptic(tau=4.0, tau_synapse=2.0, threshold=0.5),
    ])  # fmt: skip


def test_snntorch_reads_our_graph(tmp_path):
    pytest.importorskip("torch")
    import_nir = pytest.importorskip("snntorch.import_nir")
    model = ours()
    to_nir(model, tmp_path / "model.nir", dt=1e-4)
    expected = outputs(model, X)
    actual = by_steps(import_nir.import_from_nir(nir.read(tmp_path / "model.nir")), X)
    assert 0.1 < expected.mean() < 0.9
    np.testing.assert_array_equal(actual, expected)


def test_norse(tmp_path):
    """Norse reads our graph. Its own graphs have time constants multiplied by dt."""
    torch = pytest.importorskip("torch")
    norse = pytest.importorskip("norse.torch")
    from norse.torch.module import lif_box
    from norse.torch.utils import export_nir

    model = keras.Sequential([
        keras.Input((None, 6)),
        keras.layers.Dense(8, kernel_initializer=kernel(6, 8)),
        LIF(tau=4.0, threshold=0.1),
        keras.layers.Dense(5, kernel_initializer=kernel(8, 5)),
        LIF(tau=2.0, threshold=0.1),
    ])  # fmt: skip
    to_nir(model, tmp_path / "model.nir", dt=1e-3)
    net = norse.from_nir(nir.read(tmp_path / "model.nir"), dt=1e-3)
    expected = by_steps(net, X)
    assert 0.1 < expected.mean() < 0.9
    np.testing.assert_array_equal(outputs(model, X), expected)

    torch.manual_seed(0)
    eight = torch.ones(8)
    lif = lif_box.LIFBoxCell(lif_box.LIFBoxParameters(tau_mem_inv=250 * eight, v_th=0.3 * eight, v_leak=0 * eight))
    net = norse.SequentialState(torch.nn.Linear(6, 8), lif)
    with torch.no_grad():
        net[0].weight.mul_(3)
        expected = by_steps(net, X)
    graph = export_nir.to_nir(net, torch.from_numpy(X[0, 0]))
    assert 0.1 < expected.mean() < 0.9
    np.testing.assert_array_equal(outputs(from_nir(graph, dt=1e-6), X), expected)
