"""Hand a model to adversarial-robustness-toolbox, which has many more attacks."""

from typing import Any

import keras
from keras import ops

from keras_snn.robustness.gradients import loss_function


def as_art(model: keras.Model, *, loss: Any = None, clip: tuple[float, float] | None = (0.0, 1.0)) -> Any:
    """Return a classifier of adversarial-robustness-toolbox (ART) that runs ``model`` in inference mode.

    AutoAttack, Square and the other attacks of ART then run on spiking models. Noise in the model is drawn anew in each
    call.

    Args:
        model: Built Keras classifier with one input and one output ``(batch, classes)``.
        loss: As in ``robustness.pgd``.
        clip: Pair of numbers, the range of valid inputs, or None. Default (0, 1).

    Returns:
        ``TensorFlowV2Classifier`` or ``PyTorchClassifier``, by the backend in use.

    Raises:
        ImportError: If ART is not installed: ``pip install keras_snn[robustness]``.
        ValueError: On JAX, for which ART has no classifier of Keras 3, and for a model without a loss.

    Example:

    ```python
    from art.attacks.evasion import FastGradientMethod  # or SquareAttack and AutoAttack, for images

    attack = FastGradientMethod(keras_snn.robustness.as_art(model), eps=8 / 255)
    adversarial = attack.generate(x_test, y_test)
    ```
    """
    function = loss_function(model, loss)
    backend = keras.config.backend()
    if backend == "jax":
        raise ValueError("`as_art` must run on TensorFlow or PyTorch; got the backend 'jax'. Set KERAS_BACKEND.")
    try:
        from art.estimators.classification import PyTorchClassifier, TensorFlowV2Classifier
    except ImportError as error:
        raise ImportError("`as_art` needs adversarial-robustness-toolbox: pip install keras_snn[robustness]") from error

    source = getattr(function, "__self__", function)  # the Loss object of a bound method
    sparse = "sparse" in getattr(source, "__name__", type(source).__name__).lower()

    def mean_loss(labels, outputs):
        # ART hands over one-hot rows, for some attacks.
        if sparse and len(labels.shape) == len(outputs.shape):
            labels = ops.argmax(labels, axis=-1)
        return ops.mean(function(labels, outputs))

    shape, n_classes = tuple(model.input_shape[1:]), model.output_shape[-1]
    options = {"clip_values": clip, "channels_first": keras.config.image_data_format() == "channels_first"}
    if backend == "tensorflow":
        return TensorFlowV2Classifier(model, n_classes, shape, loss_object=mean_loss, **options)
    return PyTorchClassifier(model, lambda outputs, labels: mean_loss(labels, outputs), shape, n_classes, **options)
