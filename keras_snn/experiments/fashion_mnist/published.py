"""The published figures, by network and by dt at the test."""

from typing import Any

#: Training accuracy at epoch 10; test accuracy; least, mean and largest firing rate in Hz over units and images.
PUBLISHED: dict[str, Any] = {
    "ann": {"train_accuracy": 0.9115, "test": {"-": {"accuracy": 0.8832, "rate_hz": None}}},
    "spiking": {
        "train_accuracy": 0.9100,
        "test": {
            "0.001": {"accuracy": 0.1955, "rate_hz": (0, 0.52, 100)},
            "0.01": {"accuracy": 0.6443, "rate_hz": (0, 0.53, 20)},
            "0.1": {"accuracy": 0.8814, "rate_hz": (0, 0.53, 15)},
            "1": {"accuracy": 0.8837, "rate_hz": (0, 0.53, 14.4)},
        },
    },
    "aware": {"train_accuracy": 0.8515, "test": {"0.01": {"accuracy": 0.8427, "rate_hz": (0, 2.74, 50)}}},
    "regularized": {"train_accuracy": 0.7498, "test": {"0.01": {"accuracy": 0.7519, "rate_hz": (0, 9.91, 30)}}},
    "filtered": {"train_accuracy": 0.8619, "test": {"0.01": {"accuracy": 0.8434, "rate_hz": (0, 5.37, 70)}}},
}
