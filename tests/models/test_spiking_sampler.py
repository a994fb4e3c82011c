import keras
import numpy as np
import pytest
from keras import ops

import keras_snn
from keras_snn import data, layers, models

RNG = np.random.default_rng(0)
IMAGES = RNG.random((12, 8, 8, 1)).astype("float32")


def small_reconstructor():
    return models.dense_reconstructor((8, 8, 1), hidden=(16,))


@pytest.fixture(scope="module")
def sampler():
    """A sampler, trained for two epochs."""
    keras.utils.set_random_seed(0)
    model = models.SpikingSampler(models.sampling_network((8, 8, 1)), small_reconstructor(), 0.25)
    model.compile(keras.optimizers.Adam(1e-2), "mse", metrics=["mae"])
    variables = [v for v in model.sampling_network.variables if v.path.endswith(("kernel", "moving_mean"))]
    before = [ops.convert_to_numpy(v) for v in variables]
    model.losses_of_test = model.fit(IMAGES, epochs=4, batch_size=6, verbose=0).history["loss"]
    model.changes_of_test = {
        v.path: np.abs(ops.convert_to_numpy(v) - old).max() for v, old in zip(variables, before, strict=True)
    }
    return model


def test_both_parts_are_trained_with_the_images_as_targets(sampler):
    assert sampler.losses_of_test[-1] < sampler.losses_of_test[0]
    assert len(sampler.changes_of_test) == 8  # kernels: the gradient passes through the mask; means: of the batches
    assert min(sampler.changes_of_test.values()) > 1e-4, sampler.changes_of_test
    loss, mae = sampler.evaluate(IMAGES, verbose=0)
    rebuilt = sampler.reconstruct(IMAGES)
    assert loss == pytest.approx(np.mean((rebuilt - IMAGES) ** 2), rel=1e-5)
    assert mae == pytest.approx(np.mean(np.abs(rebuilt - IMAGES)), rel=1e-5)
    with_targets = sampler.evaluate(IMAGES, IMAGES, verbose=0)
    assert with_targets == pytest.approx([loss, mae], rel=1e-6)


def test_mask_sample_and_reconstruct(sampler):
    mask = sampler.mask(IMAGES)
    assert mask.shape == (12, 8, 8, 1)
    assert set(np.unique(mask)) == {0, 1}
    assert mask.sum((1, 2, 3)).tolist() == [16] * 12
    np.testing.assert_array_equal(sampler.sample(IMAGES), mask * IMAGES)
    expected = ops.convert_to_numpy(sampler.reconstructor(mask * IMAGES))
    np.testing.assert_allclose(sampler.reconstruct(IMAGES), expected, rtol=1e-5, atol=1e-6)  # float32
    np.testing.assert_array_equal(sampler.mask(IMAGES[3:5], batch_size=1), mask[3:5])  # the batch does not matter


def test_the_potential_is_the_sum_over_the_steps():
    """The network's output beside a loop over the steps with the same weights, in inference."""
    network = models.sampling_network((8, 8, 1), n_steps=3)
    for variable in network.weights:
        variable.assign(ops.convert_to_numpy(variable) + RNG.random(variable.shape) * 0.2)
    used = [layer.layer if isinstance(layer, layers.TimeFold) else layer for layer in network.layers]
    kinds = (keras.layers.Conv2D, keras.layers.Conv2DTranspose, keras.layers.BatchNormalization)
    kinds = (*kinds, keras.layers.MaxPooling2D, layers.LIF)
    x, total = IMAGES[:3], 0
    membranes = {}
    for _ in range(3):
        y = ops.convert_to_tensor(x)
        for number, layer in enumerate(used):
            if isinstance(layer, layers.LIF):
                v = membranes.get(number, 0)
                h = v + (y - v) / 1.2
                spikes = ops.cast(h > 1, "float32")
                membranes[number], y = h * (1 - spikes), spikes
            elif isinstance(layer, kinds):
                y = layer(y, training=False) if isinstance(layer, keras.layers.BatchNormalization) else layer(y)
        total = total + y
    assert len(membranes) == 3
    np.testing.assert_allclose(
        ops.convert_to_numpy(network(x, training=False)), ops.convert_to_numpy(total), rtol=1e-4, atol=1e-4
    )  # float32; the mean over three steps times three


def test_a_saved_sampler_goes_on_identically(sampler, tmp_path):
    sampler.save(tmp_path / "sampler.keras")
    loaded = keras.saving.load_model(tmp_path / "sampler.keras")
    np.testing.assert_array_equal(loaded.mask(IMAGES), sampler.mask(IMAGES))
    np.testing.assert_array_equal(loaded.reconstruct(IMAGES), sampler.reconstruct(IMAGES))
    assert (loaded.rate, loaded.top_k.percentile) == (0.25, False)


def test_it_is_built_if_the_reconstructor_is():
    """Keras's BackupAndRestore needs a built model."""
    assert models.SpikingSampler("random", small_reconstructor(), 0.25).built
    unbuilt = models.SpikingSampler("random", keras.Sequential([keras.layers.Conv2D(1, 3, padding="same")]), 0.25)
    assert not unbuilt.built
    assert unbuilt.reconstruct(IMAGES).shape == IMAGES.shape


def test_baselines_have_the_same_interface():
    x = np.zeros((2, 8, 8, 3), "float32")
    x[:, 2:6, 2:6] = 1
    x[:, 3, 3] = 2
    for name, n_ones in (("random", 16), ("brightest", 16), ("gradient", 16)):
        model = models.SpikingSampler(name, models.dense_reconstructor((8, 8, 3), hidden=()), 0.25)
        mask = model.mask(x)
        assert mask.shape == (2, 8, 8, 1), name
        assert mask.sum((1, 2, 3)).tolist() == [n_ones] * 2, name
        if name == "random":
            assert (model.mask(x) != mask).any()  # a new mask in each call
            continue
        np.testing.assert_array_equal(model.sample(x), mask * x)
        if name == "brightest":
            np.testing.assert_array_equal(mask[..., 0] > 0, x[..., 0] > 0)
    one_pixel = models.SpikingSampler("gradient", small_reconstructor(), 4 / 64)
    dot = np.zeros((1, 8, 8, 1), "float32")
    dot[0, 4, 4] = 1
    assert sorted(map(tuple, np.argwhere(one_pixel.mask(dot)[0, :, :, 0]))) == [(3, 4), (4, 3), (4, 5), (5, 4)]
    per_channel = models.SpikingSampler(
        models.BrightnessScores(per_channel=True), models.dense_reconstructor((8, 8, 3), hidden=()), 0.25
    )
    assert per_channel.mask(x).shape == x.shape


def test_events_are_compressed():
    recordings = data.simulate_saccades(RNG.random((3, 28, 28)))
    network = models.BrightnessScores(per_channel=True)
    sampler = models.SpikingSampler(network, models.event_reconstructor((34, 34, 2), width=0.05), 0.1)
    edges = {"start": 0, "stop": 300_000}
    kept = sampler.compress_events(recordings, (34, 34), **edges)
    for events, some in zip(recordings, kept, strict=True):
        frame = data.to_frames(events, (34, 34), n_frames=1, **edges)[0]
        busiest = np.sort(frame.ravel())[::-1][:231].sum()  # the events of a tenth of the pixels and polarities
        assert len(some) == busiest
        assert set(some.tolist()) <= set(events.tolist())
    by_pixel = models.SpikingSampler("brightest", models.event_reconstructor((34, 34, 2), width=0.05), 0.1)
    (some,) = by_pixel.compress_events(recordings[:1], (34, 34), **edges)
    assert len({(int(e["x"]), int(e["y"])) for e in some}) == 116
    with pytest.raises(ValueError, match="within `size`"):
        sampler.compress_events(recordings, (10, 10))


@pytest.mark.backend_free
def test_a_recording_is_compressed_window_by_window():
    recordings = data.simulate_saccades(RNG.random((2, 28, 28)))
    recordings[1]["t"] += 410_000
    events = np.concatenate(recordings)
    network = models.BrightnessScores(per_channel=True)
    sampler = models.SpikingSampler(network, models.event_reconstructor((2, 34, 34, 2), width=0.02), 0.1)
    parts = sampler.compress_parts(np.array_split(events, 7), (34, 34), window=100_000, n_frames=2)
    kept = np.concatenate(list(parts))
    windows = [part for _, part in data.time_windows([events], 100_000)]
    assert len(windows) == 6  # 100 ms without events are left out
    expected = [sampler.compress_events([part], (34, 34), n_frames=2)[0] for part in windows]
    np.testing.assert_array_equal(kept, np.concatenate(expected))
    assert 0 < len(kept) < len(events)


@pytest.mark.backend_free
def test_event_networks():
    network = models.event_sampling_network((2, 34, 34, 2), width=0.25)
    assert network.output_shape == (None, 2, 34, 34, 2)
    convolutions = (keras.layers.Conv3D, keras.layers.Conv3DTranspose)
    inner = [layer.layer if isinstance(layer, layers.TimeFold) else layer for layer in network.layers]
    sides = [
        layer.output.shape[-2]
        for layer, kind in zip(network.layers, inner, strict=True)
        if isinstance(kind, convolutions)
    ]
    assert sides == [16, 8, 4, 2, 4, 8, 16, 34]
    assert {kind.kernel_size for kind in inner if isinstance(kind, convolutions)} == {(1, 4, 4)}  # frames do not mix
    assert models.event_reconstructor((2, 34, 34, 2), width=0.1).output_shape == (None, 2, 34, 34, 2)


@pytest.mark.backend_free
def test_a_mask_has_places_in_frames_and_polarities():
    network = models.BrightnessScores(per_channel=True)
    sampler = models.SpikingSampler(network, models.event_reconstructor((2, 34, 34, 2), width=0.02), 0.05)
    recordings = data.simulate_saccades(RNG.random((2, 28, 28)))
    edges = {"start": 0, "stop": 300_000}
    frames = data.event_frames(recordings, 2, (34, 34), split_by="time", **edges)
    mask = sampler.mask(frames)
    assert mask.sum((1, 2, 3, 4)).tolist() == [231] * 2  # 5 % of 2 x 2312, over frames, pixels and polarities
    kept = sampler.compress_events(recordings, (34, 34), n_frames=2, **edges)
    masked = data.event_frames(kept, 2, (34, 34), split_by="time", **edges)
    np.testing.assert_array_equal(masked, mask * frames)


@pytest.mark.backend_free
def test_networks_have_the_shapes_of_the_publication():
    kernels = [tuple(v.shape) for v in models.sampling_network().trainable_variables if v.path.endswith("kernel")]
    assert kernels == [(3, 3, 1, 16), (3, 3, 16, 4), (2, 2, 16, 4), (2, 2, 1, 16)]
    dense = [tuple(v.shape) for v in models.dense_reconstructor().trainable_variables if v.path.endswith("kernel")]
    assert dense == [(784, 256), (256, 64), (64, 20), (20, 64), (64, 256), (256, 784)]
    conv = models.conv_reconstructor()
    assert [layer.output.shape[1] for layer in conv.layers[1:]] == [16, 8, 4, 2, 4, 8, 16, 32]
    assert models.sampling_network((32, 32, 3)).output_shape == (None, 32, 32, 1)
    shapes = [tuple(v.shape) for v in models.event_classifier().trainable_variables if v.path.endswith("kernel")]
    assert shapes == [(3, 3, 2, 128), (3, 3, 128, 128), (15 * 15 * 128, 2048), (2048, 100), (100, 10)]
    channels = [v.shape[-1] for v in models.event_reconstructor().trainable_variables if v.path.endswith("kernel")]
    assert channels == [64, 64, 64, 64, 2]


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: models.sampling_network((30, 28, 1)), "must be .* in multiples of 4; got"),
        (lambda: models.conv_reconstructor((28, 28, 1)), "must be .* in multiples of 16; got"),
        (lambda: models.event_sampling_network((3, 32, 32, 2)), r"must be \(frames, 34, 34, channels\) or"),
        (
            lambda: models.SpikingSampler("best", small_reconstructor(), 0.1),
            "`sampling_network` must be one of 'random'",
        ),
        (lambda: models.SpikingSampler("random", small_reconstructor(), 0), "`rate` must be a finite number above 0"),
    ],
)
def test_invalid_arguments(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.backend_free
def test_the_names():
    assert keras_snn.models.SpikingSampler is models.SpikingSampler
