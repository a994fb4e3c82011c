"""The published accuracies, by network, test set and dt; what was not measured is not there."""

from typing import Any

#: Training accuracy; test accuracy; mean and max firing rate in Hz. Of the two figures of "snn" on
#: "background-random", the one at 0.001 s was measured on images without a time axis, a single step. The other one was
#: measured on sequences of ten steps; whether with the network "snn" or "aware" is not stated.
#:
#: Not here: the accuracy 0.3428 that was printed for "snn" on "rotated" too, which is that of "ann"; and those of "snn"
#: on "clean" at 0.01, 0.1 and 0.9 s, of which the text says that they rise dramatically, close to that of "ann".
PUBLISHED: dict[str, Any] = {
    "ann": {
        "train_accuracy": None,
        "test": {
            "clean": {"-": {"accuracy": 0.9779}},
            "rotated": {"-": {"accuracy": 0.3428}},
            "background-random": {"-": {"accuracy": 0.1877}},
        },
    },
    "snn": {
        "train_accuracy": 0.9952,
        "test": {
            "clean": {"0.001": {"accuracy": 0.1870}},
            "rotated": {},
            "background-random": {"0.001": {"accuracy": 0.0996}, "0.1": {"accuracy": 0.0987, "rate_hz": (1.73, 24)}},
        },
    },
    "aware": {"train_accuracy": None, "test": {"clean": {}, "rotated": {}, "background-random": {}}},
}
