"""The published results that this package reproduces; each experiment is a folder with a ``run`` function."""

import importlib

#: The names that `keras-snn run` takes, with what each does.
EXPERIMENTS = {
    "fashion-mnist": "Plain and spiking networks on Fashion-MNIST, swept over dt",
    "ann-vs-snn-mnist": "A plain network and its spiking twin on clean, turned and noisy digits",
    "clothing": "Raise dt until a spiking network on Fashion-MNIST is as good as the plain one",
    "klif": "LIF neurons that learn the scale of their membrane, against LIF, over several seeds",
    "conversion": "Plain networks made to spike, after 4 to 256 steps",
    "noise-training": "Train at one step with noise for a membrane, run at ten; against training at ten steps",
}


def get(name):
    """Return the module of the experiment ``name``, which has ``run``, ``PRESETS`` and ``table``.

    Raises:
        ValueError: For an unknown name.
    """
    if name not in EXPERIMENTS:
        raise ValueError(f"There is no experiment {name!r}; there are: {', '.join(EXPERIMENTS)}.")
    return importlib.import_module(f"{__name__}.{name.replace('-', '_')}")


__all__ = ["EXPERIMENTS", "get"]
