"""Compare a model with the model that its NIR graph gives."""

import os
import pathlib
import tempfile

import keras
import numpy as np

from keras_snn import text_table
from keras_snn.export.nir_layout import import_nir
from keras_snn.export.nir_reader import from_nir
from keras_snn.export.nir_writer import to_nir

_MOST_ROWS = 20


def nir_round_trip(model: keras.Model, x: np.ndarray, *, dt: float | None = None) -> str:
    """Write a model to a NIR file, read the file, run both models, and return a table of the differences over time.

    Args:
        model: As in ``to_nir``, with one input and one output.
        x: Array ``(samples, ...)`` of inputs.
        dt: As in ``to_nir``.

    Returns:
        Text table: for up to 20 time steps, the sum of the outputs of a sample in both models, the number of outputs
        that differ, and the largest difference. The last line counts all steps.

    Raises:
        ValueError: As in ``to_nir`` and ``from_nir``.

    Example:

    ```python
    model = keras.Sequential([keras.Input((None, 20)), keras.layers.Dense(10), keras_snn.LIF(tau=20.0)])
    print(keras_snn.export.nir_round_trip(model, np.random.rand(8, 50, 20)))
    ```
    """
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.nir"
        to_nir(model, path, dt=dt)
        copy = from_nir(import_nir().read(os.fspath(path)))
    expected = model.predict(x, verbose=0)
    n_steps = expected.shape[1]
    same_input = len(copy.input_shape) == np.ndim(x)
    actual = copy.predict(x if same_input else np.repeat(np.asarray(x)[:, None], n_steps, axis=1), verbose=0)
    difference = np.abs(expected - actual).reshape(len(expected), n_steps, -1)
    rows: list[tuple[str, ...]] = [("step", "outputs, model", "outputs, graph", "different", "largest difference")]
    for step in np.unique(np.linspace(0, n_steps - 1, min(n_steps, _MOST_ROWS)).round().astype(int)):
        sums = (f"{y[:, step].sum() / len(y):.6g}" for y in (expected, actual))
        at_step = difference[:, step]
        rows.append((str(step + 1), *sums, f"{np.count_nonzero(at_step):,}", f"{at_step.max():.3g}"))
    total = (
        f"{np.count_nonzero(difference):,} of {difference.size:,} outputs differ, by at most {difference.max():.3g}."
    )
    return "\n".join([*text_table.plain(rows), total])
