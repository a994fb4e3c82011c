"""DtScheduler: a schedule for the time step during training."""

from collections.abc import Callable

import keras
from keras import ops

from keras_snn.hints import Tensor
from keras_snn.layers.base.time_step import check_dt, check_variable, is_variable, layers_with_dt


class DtScheduler(keras.callbacks.Callback):
    """Update dt in every training batch: ``dt = scheduler(epoch * steps_per_epoch + batch)``.

    A large dt is fast, a small dt is accurate: start with a large dt and decrease it.

    ``epoch`` is the epoch number of Keras. A training that is resumed with ``initial_epoch=n`` therefore gets the same
    values as without the interruption. After training, dt keeps its last value.

    If the number of batches is unknown (a generator without ``steps_per_epoch``), the callback counts the batches, and
    stores the count at the start of each epoch. To resume with ``initial_epoch=n``, use the same ``DtScheduler`` object
    or pass ``steps_per_epoch``; otherwise ``fit`` raises an error. To find the end of such data, TensorFlow and JAX
    start one batch more. On TensorFlow, the following validation uses the dt of this batch.

    With ``steps_per_execution=n``, dt is updated once every n batches, before the first of them.

    Args:
        dt: Scalar variable that the layers of the model hold: a ``keras.Variable`` or, on TensorFlow, a
            ``tf.Variable``. It is made non-trainable. A loaded or cloned model has a new variable: take it
            from a layer, ``model.get_layer(name).dt``.
        scheduler: A ``keras.optimizers.schedules.LearningRateSchedule``, or any callable from the integer step to
            seconds.
        verbose: Boolean. True: print each new value.

    Raises:
        TypeError: If ``dt`` is not a variable, ``scheduler`` is not callable, or it does not return a number.
        ValueError: If ``scheduler`` returns a value that is not positive and finite, if no layer of the model holds
            ``dt``, or if the step at the start of an epoch is unknown.

    Example:

    ```python
    dt = keras.Variable(0.1, trainable=False)
    model = keras.Sequential([
        keras_snn.layers.Repeat(10),
        keras_snn.layers.SpikingActivation("relu", dt=dt),
        keras_snn.layers.TemporalAveragePooling(),
        keras.layers.Dense(10),
    ])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, decay_steps=1000, decay_rate=0.5)
    model.fit(x, y, callbacks=[keras_snn.callbacks.DtScheduler(dt, schedule)])
    ```

    References: the interface is the one of the KerasSpiking library.
    """

    async_safe = True  # on_train_batch_end only appends to a list

    def __init__(self, dt: Tensor, scheduler: Callable[[int], float | Tensor], verbose: bool = False) -> None:
        super().__init__()
        if not is_variable(dt):
            raise TypeError(
                f"`dt` must be a variable, because a number is a constant of compiled code; got {dt!r}. Make one with "
                "`dt = keras.Variable(0.001, trainable=False)`, and pass it to the layers and to DtScheduler."
            )
        check_variable(dt)
        if not callable(scheduler):
            raise TypeError(
                "`scheduler` must be a learning-rate schedule or a callable from the step (int) to seconds; "
                f"got {scheduler!r}."
            )
        self.dt = dt
        self.scheduler = scheduler
        self.verbose = verbose
        self._value: float | None = None
        self._first_step = 0
        self._first_steps = {0: 0}  # by epoch, for an unknown number of batches
        self._batches = []

    def on_train_begin(self, logs=None):
        model = self.model
        variables = [layer.dt_variable for layer in layers_with_dt(model)] + model.variables
        if model.built and not any(variable is self.dt for variable in variables):
            raise ValueError(
                f"`dt` must be a variable that a layer of {model.name!r} holds; got another one. A loaded or cloned "
                "model has a new variable: take it from a layer, `model.get_layer(name).dt`."
            )

    def on_epoch_begin(self, epoch, logs=None):
        n_steps = (self.params or {}).get("steps")
        if n_steps is None and epoch not in self._first_steps:
            raise ValueError(
                f"The number of batches per epoch must be known to resume at epoch {epoch}; got None. Pass "
                "`steps_per_epoch` to fit, or use the DtScheduler object of the first epochs."
            )
        self._first_step = self._first_steps[epoch] if n_steps is None else epoch * n_steps
        self._batches.clear()
        self._value = float(self.dt.numpy())  # other code may have changed it

    def on_train_batch_begin(self, batch, logs=None):
        value = self._value_at(self._first_step + batch)
        if value == self._value:
            return
        # During an epoch, JAX keeps the values of variables elsewhere, and an assignment is lost unless they are synced
        # first. This copies all variables.
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()
        self.dt.assign(value)
        self._value = value
        if self.verbose:
            print(f"\nStep {self._first_step + batch}: dt = {value:g} s")

    def on_train_batch_end(self, batch, logs=None):
        self._batches.append(batch)

    def on_epoch_end(self, epoch, logs=None):
        self._first_steps[epoch + 1] = self._first_step + max(self._batches, default=-1) + 1

    def _value_at(self, step):
        value = self.scheduler(step)
        dtype = keras.backend.standardize_dtype(self.dt.dtype)
        try:
            if not hasattr(value, "shape"):
                check_dt(value)
            # Checked in the dtype of the variable: a small number may round to zero.
            return check_dt(float(ops.convert_to_numpy(ops.cast(value, dtype))))
        except (TypeError, ValueError) as error:
            raise type(error)(f"`scheduler` returned {value!r} for step {step}. {error}") from error
