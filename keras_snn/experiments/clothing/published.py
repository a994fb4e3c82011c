"""The published figures, by network and dt."""

from typing import Any

#: "train_accuracy" is the mean over the batches of epoch 10. "accuracy" was printed as test accuracy, but is that of
#: training images. "loop_accuracy" is what the training loop printed for it. Rates in Hz are (mean, max).
PUBLISHED: dict[str, Any] = {
    "ann": {"train_accuracy": 0.9119, "dt": {"-": {"accuracy": 0.9060, "rate_hz": None}}},
    "spiking": {
        "train_accuracy": 0.9107,
        "dt": {
            "0.001": {"accuracy": 0.1785, "loop_accuracy": 0.1754, "rate_hz": (0.61, 100)},
            "0.01": {"accuracy": 0.6442, "rate_hz": (0.60, 30)},
            "0.1": {"accuracy": 0.9032, "rate_hz": (0.61, 24)},
            "1": {"accuracy": 0.9268, "rate_hz": (0.61, 24.5)},
        },
    },
}
