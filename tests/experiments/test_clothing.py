"""The search for dt on Fashion-MNIST, with a small synthetic image set, and its networks as PyTorch modules."""

import json

import keras
import numpy as np
import pytest
from keras import ops
from reference.images import bars

from keras_snn import data, inspect, layers
from keras_snn.experiments.clothing import EXPERIMENT, table

backend_free = pytest.mark.backend_free


def tiny():
    return bars(38, 20)  # six for validation; one batch size, so that each network is compiled once


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Train both networks for three epochs and search for dt; return the results and their folder."""
    out = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "load", lambda name: tiny())
        return EXPERIMENT.run(epochs=3, out=out, verbose=False), out


def test_recorded_accuracies_are_those_of_the_saved_networks(results):
    record, out = results
    assert record["finished"]
    assert json.loads((out / "results.json").read_text()) == json.loads(json.dumps(record))
    (x, y), test = tiny()
    sets = {"train": (x[6:], y[6:]), "validation": (x[:6], y[:6]), "test": test}
    model = keras.models.load_model(out / "spiking.keras")
    for dt, at_dt in record["parts"]["spiking"]["dt"].items():
        for name, (images, labels) in sets.items():
            (result,) = inspect(model, images, labels, dt=float(dt), examples=0)
            assert at_dt["accuracy"][name] == result.accuracy
    ann = keras.models.load_model(out / "ann.keras")
    for name, (images, labels) in sets.items():
        right = np.mean(ann.predict(images, verbose=0).argmax(axis=1) == labels)
        assert record["parts"]["ann"]["dt"]["-"]["accuracy"][name] == pytest.approx(right, abs=1e-6)
    assert (out / "accuracy.png").read_bytes().startswith(b"\x89PNG")


@backend_free
def test_dt_is_chosen_by_the_validation_accuracy(results):
    parts = results[0]["parts"]
    target = parts["ann"]["dt"]["-"]["accuracy"]["validation"]
    spiking = parts["spiking"]
    for step in spiking["tries"]:
        assert step["reached"] == (step["accuracy"] >= target)
        assert step["accuracy"] == spiking["dt"][f"{step['dt']:g}"]["accuracy"]["validation"]
    reached = [step["dt"] for step in spiking["tries"] if step["reached"]]
    assert spiking["chosen_dt"] == (reached[0] if reached else None)


@backend_free
def test_the_table_has_our_figures_and_published_figures(results):
    lines = table(results[0]).splitlines()
    rows = [line.split() for line in lines if line.startswith(("ann", "spiking", " "))]
    assert len(rows) == 5
    assert "90.60" in rows[0]
    assert [
        published
        for row, published in zip(rows[1:], ("17.85", "64.42", "90.32", "92.68"), strict=True)
        if published not in row
    ] == []
    assert "those of training images" in lines[-1]
    assert lines[2].split()[3:5] == ["running", "published"]
    parts = results[0]["parts"]
    for row, network, published in ((rows[0], "ann", "91.19"), (rows[1], "spiking", "91.07")):
        assert row[row.index(published) - 1] == f"{100 * parts[network]['train_accuracy']:.2f}"
    assert "17.85 (loop: 17.54)" in " ".join(rows[1])


# PyTorch modules


def torch_network(dt=0.1, seed=0):
    """Return the spiking network as a built torch.nn.Sequential, whose parameters an optimizer finds."""
    import torch

    net = torch.nn.Sequential(
        torch.nn.Flatten(),
        keras.layers.Dense(64, name="dense"),
        layers.Repeat(5, name="repeat"),
        layers.SpikingActivation("relu", dt=dt, seed=seed, name="spikes"),
        layers.TemporalAveragePooling(name="mean"),
        keras.layers.Dense(10, name="classes"),
    )
    net(torch.zeros(2, 28, 28))
    return net


def sample(n=1000):
    import torch

    (x, y), _ = data.load("fashion_mnist_sample")
    return torch.from_numpy(x[:n]), torch.from_numpy(y[:n].astype("int64"))


def fit(net, x, y, *, epochs, penalty=None):
    """Train with a PyTorch loop; ``penalty`` is a function of the rates in Hz."""
    import torch

    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    net.train()
    for _ in range(epochs):
        for i in range(0, len(x), 32):
            optimizer.zero_grad()
            rates = net[:5](x[i : i + 32])
            loss = torch.nn.functional.cross_entropy(net[5:](rates), y[i : i + 32])
            if penalty is not None:
                loss = loss + penalty(rates)
            loss.backward()
            optimizer.step()
    net.eval()


def accuracy(net, x, y):
    import torch

    with torch.no_grad():
        return float((net(x).argmax(1) == y).float().mean())


torch_only = pytest.mark.torch("torch.nn.Sequential")


@torch_only
def test_a_torch_module_learns_like_a_keras_model():
    import torch

    torch.manual_seed(0)
    keras.utils.set_random_seed(0)
    x, y = sample()
    net = torch_network()
    assert len(list(net.parameters())) == 4
    fit(net, x, y, epochs=5)
    torch_accuracy = accuracy(net, x, y)

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((28, 28)),
            keras.layers.Flatten(),
            keras.layers.Dense(64),
            layers.Repeat(5),
            layers.SpikingActivation("relu", dt=0.1, seed=0),
            layers.TemporalAveragePooling(),
            keras.layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
    model.fit(x.numpy(), y.numpy(), epochs=5, batch_size=32, verbose=0)
    keras_accuracy = model.evaluate(x.numpy(), y.numpy(), verbose=0)[1]
    assert torch_accuracy > 0.7  # chance is 0.1
    # The order of batches differs: six standard deviations of one percentage point, measured over five runs of each.
    assert abs(torch_accuracy - keras_accuracy) < 0.06


@torch_only
def test_an_optimizer_needs_a_built_network():
    import torch

    net = torch.nn.Sequential(keras.layers.Dense(4), layers.Repeat(2), layers.SpikingActivation("relu"))
    assert list(net.parameters()) == []
    net(torch.zeros(1, 3))
    assert sorted(tuple(p.shape) for p in net.parameters() if p.requires_grad) == [(3, 4), (4,)]


@torch_only
def test_the_mode_of_the_module_counts():
    import torch

    net = torch.nn.Sequential(
        keras.layers.Dense(4),
        layers.Repeat(6),
        layers.SpikingActivation("relu", dt=0.1, seed=0, spiking_aware_training=False),
    )
    x = torch.rand(3, 5)
    net.train()
    rates = net(x)
    assert torch.equal(rates[:, 0], rates[:, 5])
    net.eval()
    spikes = net(x).detach() * 0.1
    np.testing.assert_allclose(spikes, spikes.round(), atol=1e-5)  # spike counts, with the rounding of 1 / 0.1


@torch_only
def test_a_penalty_by_hand_moves_the_rates():
    import torch

    torch.manual_seed(0)
    keras.utils.set_random_seed(0)
    x, y = sample(500)
    means = {}
    for name, penalty in {"none": None, "at 20 Hz": lambda r: 1e-3 * ((r - 20) ** 2).sum(1).mean()}.items():
        net = torch_network()
        fit(net, x, y, epochs=20, penalty=penalty)
        with torch.no_grad():
            means[name] = float(net[:5](x).mean())
    assert means["none"] < 5
    assert 15 < means["at 20 Hz"] < 22  # the classification loss counts too, and the training is short


@torch_only
@pytest.mark.parametrize("seed", [0, None])
def test_a_state_dict_is_loaded_into_another_module(tmp_path, seed):
    import torch

    first, second = torch_network(seed=seed), torch_network(seed=seed)
    names = {name for name in first.state_dict() if "seed_generator" not in name}
    assert names == {
        f"{place}._torch_params.{layer}/{weight}"
        for place, layer in ((1, "dense"), (5, "classes"))
        for weight in ("kernel", "bias")
    }
    torch.save(first.state_dict(), tmp_path / "net.pt")
    second.load_state_dict(torch.load(tmp_path / "net.pt"))
    x = torch.rand(3, 28, 28)
    first.eval(), second.eval()
    torch.testing.assert_close(second(x), first(x), rtol=0, atol=0)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
    assert ops.is_tensor(first(x))
