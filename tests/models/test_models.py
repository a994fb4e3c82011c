import itertools

import keras
import numpy as np
import pytest

from keras_snn import layers
from keras_snn.activations import LeakyReLU
from keras_snn.models import NEURONS, klif_net, noise_net, resnet18, vgg16
from keras_snn.models.klif_net import NETS

backend_free = pytest.mark.backend_free


def neurons(model):
    return [layer for layer in model.layers if isinstance(layer, layers.SpikingNeuron)]


@backend_free
def test_klif_net_is_the_published_network():
    model = klif_net("fashion_mnist")
    assert model.input_shape == (None, 28, 28, 1)
    assert model.output_shape == (None, 10)
    kernels = [tuple(w.shape) for w in model.trainable_variables if w.path.endswith("kernel")]
    # Pooling: 28 -> 14 -> 7. The encoder has three branches of 128 channels.
    assert kernels == [(3, 3, 1, 3 * 128), (3, 3, 128, 128), (128 * 7 * 7, 2048), (2048, 100)]
    assert [layer.output.shape[1] for layer in neurons(model)] == [8] * 4
    assert all(isinstance(layer, layers.KLIF) for layer in neurons(model))
    assert not any(w.path.endswith("bias") for w in model.trainable_variables)


KERNELS = {
    "mnist": [(3, 3, 1, 48), (3, 3, 16, 16), (16 * 7 * 7, 256), (256, 100)],
    "fashion_mnist": [(3, 3, 1, 48), (3, 3, 16, 16), (16 * 7 * 7, 256), (256, 100)],
    "cifar10": [(3, 3, 3, 96), *[(3, 3, 32, 32)] * 5, (32 * 8 * 8, 256), (256, 100)],
    "nmnist": [(3, 3, 2, 48), (3, 3, 16, 16), (16 * 8 * 8, 256), (256, 100)],
    "cifar10_dvs": [(3, 3, 2, 16), *[(3, 3, 16, 16)] * 3, (16 * 8 * 8, 64), (64, 100)],
    "dvs_gesture": [(3, 3, 2, 48), *[(3, 3, 16, 16)] * 4, (16 * 4 * 4, 64), (64, 110)],
}


@backend_free
@pytest.mark.parametrize("dataset", NETS)
def test_each_data_set_has_its_network(dataset):
    model = klif_net(dataset, width=0.125, n_steps=2)
    kernels = [tuple(w.shape) for w in model.trainable_variables if w.path.endswith("kernel")]
    assert kernels == KERNELS[dataset]
    time = (2,) if NETS[dataset].events else ()
    assert model.input_shape == (None, *time, *NETS[dataset].shape)
    assert model.output_shape == (None, 11 if dataset == "dvs_gesture" else 10)
    assert [net.n_steps for net in NETS.values()] == [8, 8, 10, 10, 15, 12]


def test_scores_are_fractions_of_votes():
    model = klif_net("mnist", width=0.05, n_steps=3, neuron=lambda: layers.LIF(threshold=0.1))
    x = np.random.default_rng(0).uniform(size=(4, 28, 28, 1)).astype("float32")
    scores = keras.ops.convert_to_numpy(model(x, training=False))
    # Ten neurons and three steps: multiples of 1 / 30.
    np.testing.assert_allclose(scores * 30, np.round(scores * 30), atol=1e-4)
    assert scores.min() >= 0
    assert scores.max() <= 1
    assert scores.max() > 0


def test_dropout_has_one_mask_for_all_steps():
    (first, second) = (
        layer for layer in klif_net("mnist", width=0.05).layers if isinstance(layer, keras.layers.Dropout)
    )
    dropped = keras.ops.convert_to_numpy(first(np.ones((2, 5, 400), "float32"), training=True))
    assert np.all(dropped == dropped[:, :1])
    assert np.any(dropped[0] != dropped[1])
    assert first.rate == second.rate == 0.5
    without_dropout = klif_net("mnist", width=0.05, dropout_rate=0.0)
    assert not any(isinstance(layer, keras.layers.Dropout) for layer in without_dropout.layers)


@backend_free
@pytest.mark.parametrize("neuron", NEURONS)
def test_neurons_by_name(neuron):
    layers_of_net = neurons(klif_net("mnist", neuron, width=0.02, n_steps=1))
    assert len(layers_of_net) == len(set(map(id, layers_of_net))) == 4
    expected = {
        "lif": (layers.LIF, {}),
        "plif": (layers.PLIF, {}),
        "klif": (layers.KLIF, {"variant": "klif", "learn": ["k"], "activation": "relu"}),
        "klif*": (layers.KLIF, {"variant": "klif*", "learn": ["k"], "activation": "relu"}),
        "klif, celu": (layers.KLIF, {"variant": "klif", "learn": ["k"], "activation": "celu"}),
        "klif, leaky relu": (
            layers.KLIF,
            {"learn": ["k"], "activation": keras.activations.serialize(LeakyReLU(0.01))},
        ),
        "only k": (layers.KLIF, {"variant": "klif", "learn": ["k"], "activation": "linear"}),
        "only relu": (layers.KLIF, {"variant": "klif", "learn": [], "activation": "relu"}),
    }
    cls, options = expected[neuron]
    for layer in layers_of_net:
        assert type(layer) is cls
        config = layer.get_config()
        assert {name: config[name] for name in options} == options


@backend_free
def test_noise_net():
    model = noise_net()
    kernels = [tuple(w.shape) for w in model.trainable_variables if w.path.endswith("kernel")]
    # Pooling: 28 -> 14 -> 7 -> 3.
    assert kernels == [(3, 3, 1, 64), (3, 3, 64, 128), (3, 3, 128, 128), (128 * 3 * 3, 512), (512, 10)]
    assert [type(layer) for layer in neurons(model)] == [layers.NoisyLIF] * 5
    assert [layer.output.shape[1] for layer in neurons(model)] == [1] * 5
    normalized = [w for w in model.trainable_variables if w.path.endswith("gamma")]
    assert [w.shape[0] for w in normalized] == [64, 128, 128, 512, 10]
    assert model.output_shape == (None, 10)
    lif_net = noise_net((32, 32, 3), 7, "lif", width=0.25, n_steps=4)
    assert [layer.output.shape[1] for layer in neurons(lif_net)] == [4] * 5
    assert lif_net.get_weights()[-1].shape == (7,)
    with pytest.raises(ValueError, match="at least 8 x 8; got"):
        noise_net((7, 28, 1))


@backend_free
def test_vgg16():
    model = vgg16(n_votes=10)
    convolutions = [tuple(w.shape)[2:] for w in model.trainable_variables if len(w.shape) == 4]
    channels = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    assert convolutions == list(itertools.pairwise(channels))
    dense = [tuple(w.shape) for w in model.trainable_variables if len(w.shape) == 2]
    assert dense == [(512, 512), (512, 512), (512, 100)]
    assert len(neurons(model)) == 16
    assert model.output_shape == (None, 10)


@backend_free
def test_resnet18():
    model = resnet18()
    kernels = [tuple(w.shape) for w in model.trainable_variables if len(w.shape) == 4]
    assert len([k for k in kernels if k[:2] == (3, 3)]) == 17
    assert sorted(k for k in kernels if k[:2] == (1, 1)) == [(1, 1, 64, 128), (1, 1, 128, 256), (1, 1, 256, 512)]
    assert len(neurons(model)) == 18
    assert model.output_shape == (None, 10)
    # ResNet-18 of KerasHub has 11.2 million parameters with 10 classes.
    assert 11.0e6 < model.count_params() < 11.3e6


@pytest.mark.nightly("other tests train and save the same layers in smaller networks")
@pytest.mark.parametrize("build", [vgg16, resnet18])
def test_deep_networks_train_and_are_saved(build, tmp_path):
    model = build(width=0.02, n_steps=2, encoder_branches=3, neuron="klif")
    rng = np.random.default_rng(0)
    x, y = rng.uniform(size=(4, 32, 32, 3)).astype("float32"), np.eye(10, dtype="float32")[:4]
    model.compile("sgd", "mse")
    model.fit(x, y, batch_size=4, verbose=0)
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    # Eager calls: `predict` would compile the whole network.
    np.testing.assert_array_equal(*(keras.ops.convert_to_numpy(m(x, training=False)) for m in (restored, model)))
    for a, b in zip(restored.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@backend_free
def test_errors():
    with pytest.raises(ValueError, match="`dataset` must be one of 'mnist'.*got 'svhn'"):
        klif_net("svhn")
    with pytest.raises(ValueError, match="`neuron` must be one of 'lif'.*got 'lief'"):
        klif_net("mnist", "lief")
    with pytest.raises(TypeError, match="the network needs several layers; got"):
        klif_net("mnist", layers.LIF())
    for width in (0, -1):
        with pytest.raises(ValueError, match="`width` must be a finite number above 0"):
            klif_net("mnist", width=width)
    with pytest.raises(ValueError, match="multiples of 32; got"):
        vgg16((28, 28, 1))
    with pytest.raises(ValueError, match="multiples of 8; got"):
        resnet18((30, 32, 3))
