"""The names of ``keras_snn``. Importing this file imports Keras and registers all classes for loading models."""

try:
    import keras  # noqa: F401
except ImportError as error:
    raise ImportError(
        "keras_snn needs Keras and one of its backends. Install one of them with the package: "
        "pip install keras_snn[tensorflow], keras_snn[jax] or keras_snn[torch], and name it in KERAS_BACKEND."
    ) from error

from keras_snn import (
    activations,
    callbacks,
    constraints,
    conversion,
    data,
    energy,
    export,
    layers,
    learning_rules,
    losses,
    metrics,
    model_energy,
    models,
    ops,
    probe,
    regularizers,
    robustness,
    streaming,
    surrogates,
)
from keras_snn._version import __version__
from keras_snn.config import default
from keras_snn.conversion import convert
from keras_snn.energy import ModelEnergy
from keras_snn.energy_comparison import compare_energy
from keras_snn.inspector import find_dt, inspect
from keras_snn.layers import (
    ALIF,
    IF,
    KLIF,
    LIF,
    PLIF,
    Alpha,
    AlphaCell,
    AlternativeOscillationLIF,
    ConductanceLIF,
    Izhikevich,
    LeakyIntegrator,
    Lowpass,
    LowpassCell,
    NoisyLIF,
    OscillationLIF,
    RecurrentLIF,
    Repeat,
    ResonateAndFire,
    SpikingActivation,
    SpikingActivationCell,
    Synaptic,
    TimeFold,
    reset_states,
    set_dt,
)
from keras_snn.streaming import predict, stream

__all__ = [
    "ALIF",
    "IF",
    "KLIF",
    "LIF",
    "PLIF",
    "Alpha",
    "AlphaCell",
    "AlternativeOscillationLIF",
    "ConductanceLIF",
    "Izhikevich",
    "LeakyIntegrator",
    "Lowpass",
    "LowpassCell",
    "ModelEnergy",
    "NoisyLIF",
    "OscillationLIF",
    "RecurrentLIF",
    "Repeat",
    "ResonateAndFire",
    "SpikingActivation",
    "SpikingActivationCell",
    "Synaptic",
    "TimeFold",
    "__version__",
    "activations",
    "callbacks",
    "compare_energy",
    "constraints",
    "conversion",
    "convert",
    "data",
    "default",
    "energy",
    "export",
    "find_dt",
    "inspect",
    "layers",
    "losses",
    "learning_rules",
    "metrics",
    "model_energy",
    "models",
    "ops",
    "predict",
    "probe",
    "regularizers",
    "reset_states",
    "robustness",
    "set_dt",
    "stream",
    "streaming",
    "surrogates",
]
