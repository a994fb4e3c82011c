"""DtScheduler: a time step that changes while a model trains."""

import keras
from keras import ops

from keras_snn.layers.base.time_step import check_dt, check_variable, is_variable, layers_with_dt


class DtScheduler(keras.callbacks.Callback):
    """Set a variable dt at every training batch: ``dt = scheduler(epoch * steps_per_epoch + batch)``.

    Large steps are cheap and small ones exact: start with a large dt and let it fall.

    ``epoch`` is Keras's own count, which ``initial_epoch`` starts: a fit that was interrupted and goes on with
    ``initial_epoch=n`` gets the values that it would have had. After training dt keeps its last value.

    Where the number of batches is unknown (a generator without ``steps_per_epoch``), the callback counts them as they
    come, and remembers the count at the start of each epoch. Going on with ``initial_epoch=n`` then needs the same
    ``DtScheduler`` object, or ``steps_per_epoch``; without either it is an error. To find the end of such data,
    TensorFlow and JAX begin one batch that never comes: on TensorFlow, the validation that follows it sees the dt of
    that batch.

    With ``steps_per_execution=n``, dt changes once every n batches, at the first of them.

    Args:
        dt: Scalar variable that the layers of the model hold: a ``keras.Variable`` or, on TensorFlow, a
            ``tf.Variable``. It is made non-trainable. A model that was loaded or cloned has one of its own: take it
            from a layer, ``model.get_layer(name).dt``.
        scheduler: A ``keras.optimizers.schedules.LearningRateSchedule``, or any callable from the integer step to
            seconds.
        verbose: Boolean, print each new value.

    Raises:
        TypeError: If ``dt`` is no variable, or ``scheduler`` cannot be called or returns what is no number.
        ValueError: If ``scheduler`` returns a value that is not positive and finite, if no layer of the model holds
            ``dt``, or if the step is unknown (above).

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

    References: the interface is that of the KerasSpiking library.
    """

    async_safe = True  # on_train_batch_end only appends to a list

    def __init__(self, dt, scheduler, verbose=False):
        super().__init__()
        if not is_variable(dt):
            raise TypeError(
                f"`dt` has to be a variable, since compiled code keeps a number as it is; got {dt!r}. Make one with "
                "`dt = keras.Variable(0.001, trainable=False)`, and give it to the layers and to DtScheduler."
            )
        check_variable(dt)
        if not callable(scheduler):
            raise TypeError(
                "`scheduler` has to be a learning-rate schedule or a callable from the step (int) to seconds; "
                f"got {scheduler!r}."
            )
        self.dt = dt
        self.scheduler = scheduler
        self.verbose = verbose
        self._value = None
        self._first_step = 0
        self._counted = {0: 0}  # epoch -> its first step, where only counting tells
        self._batches = []

    def on_train_begin(self, logs=None):
        model = self.model
        held = [layer.dt_variable for layer in layers_with_dt(model)] + model.variables
        if model.built and not any(variable is self.dt for variable in held):
            raise ValueError(
                f"No layer of {model.name!r} holds the variable `dt` of DtScheduler. A model that was loaded or "
                "cloned has a variable of its own: take it from a layer, `model.get_layer(name).dt`."
            )

    def on_epoch_begin(self, epoch, logs=None):
        n_steps = (self.params or {}).get("steps")
        if n_steps is None and epoch not in self._counted:
            raise ValueError(
                f"DtScheduler cannot tell the step at which epoch {epoch} begins, as the number of batches in an epoch "
                "is unknown. Give `steps_per_epoch` to fit, or go on with the DtScheduler of the first epochs."
            )
        self._first_step = self._counted[epoch] if n_steps is None else epoch * n_steps
        self._batches.clear()
        self._value = float(self.dt.numpy())  # others may have changed it since

    def on_train_batch_begin(self, batch, logs=None):
        value = self._value_at(self._first_step + batch)
        if value == self._value:
            return
        # Until it is told otherwise, JAX keeps the variables' values elsewhere during an epoch, and forgets what is
        # assigned here. Telling it costs a copy of all of them.
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()
        self.dt.assign(value)
        self._value = value
        if self.verbose:
            print(f"\nStep {self._first_step + batch}: dt = {value:g} s")

    def on_train_batch_end(self, batch, logs=None):
        self._batches.append(batch)

    def on_epoch_end(self, epoch, logs=None):
        self._counted[epoch + 1] = self._first_step + max(self._batches, default=-1) + 1

    def _value_at(self, step):
        value = self.scheduler(step)
        dtype = keras.backend.standardize_dtype(self.dt.dtype)
        try:
            if not hasattr(value, "shape"):
                check_dt(value)
            # In the precision of the variable, where a small number may be zero.
            return check_dt(float(ops.convert_to_numpy(ops.cast(value, dtype))))
        except (TypeError, ValueError) as error:
            raise type(error)(f"`scheduler` returned {value!r} for step {step}. {error}") from error
