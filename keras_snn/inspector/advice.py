"""Causes and remedies for layers that do not spike or do not learn."""

import keras

#: For each state of a layer: its meaning, and what to do. The same words stand in notes of ``inspect`` and in warnings
#: of ``callbacks.SpikeHealth``.
_ADVICE = {
    "silent": (
        "Causes: inputs too small for the threshold, or too few steps. Remedies: larger initial weights "
        '(kernel_initializer="he_normal" or VarianceScaling(4)) or inputs, a lower `threshold`, more steps, for '
        "SpikingActivation a larger `dt`, or a target for the rates: "
        "activity_regularizer=keras_snn.regularizers.L2(target=(low, high), time_axis=1)."
    ),
    "saturated": (
        "Cause: inputs too large for the threshold. Remedies: smaller initial weights or inputs, a higher `threshold`, "
        "for SpikingActivation a smaller `dt`, or a target for the rates: "
        "activity_regularizer=keras_snn.regularizers.L2(target=(low, high), time_axis=1)."
    ),
    "zero gradient": (
        "Causes: membranes far from the threshold, a narrow surrogate, or a later layer without a gradient. "
        "Remedies: a wider `surrogate`, other initial weights or another `threshold`."
    ),
    "not finite": "Remedies: a smaller learning rate, or `clipnorm` in the optimizer. Look for NaN in the data.",
}
_MOVING_AVERAGES = (
    " Another cause: the moving averages of a BatchNormalization lag behind the weights after few batches. Train with "
    "momentum=0.9."
)


def advice(state: str, model: keras.Model) -> str:
    """Return causes and remedies for layers in a state: "silent", "saturated", "zero gradient" or "not finite"."""
    text = _ADVICE[state]
    if state == "silent" and any(
        isinstance(layer, keras.layers.BatchNormalization) for layer in model._flatten_layers()
    ):
        text += _MOVING_AVERAGES
    return text
