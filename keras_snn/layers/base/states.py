"""States that stateful layers keep between calls."""

from typing import Any

import keras
from keras import ops

from keras_snn.hints import Shape, Tensor
from keras_snn.ops.backend import start_from


class States(keras.layers.Layer):
    """Mixin for layers with the attributes ``stateful`` and ``states``: a list of variables, or None.

    States are not weights: Keras neither counts nor saves them, and ``set_weights`` accepts the weights of a model with
    any batch size. The first call after building, loading or a reset starts from ``initial_state``, computed from the
    current weights.
    """

    states: Any = None
    _is_fresh: Any = None  # bool variable: the next call starts from `initial_state`. None for a layer without weights

    def add_states(self, shapes: list[Shape], dtypes: list[str]) -> None:
        """Make state variables of ``shapes``, which include the batch axis."""
        if any(shape[0] is None for shape in shapes):
            raise ValueError(
                f"{type(self).__name__} with stateful=True needs a static batch size, got None. Give it with "
                "keras.Input(..., batch_size=n)."
            )
        # With initializers: `fit` builds the model symbolically, and values assigned here would be lost.
        with keras.name_scope(self.name):
            self.states = [
                keras.Variable(
                    lambda shape, dtype, i=i: ops.copy(self.initial_state(shape[0])[i]),
                    shape=shape,
                    dtype=dtype,
                    trainable=False,
                    autocast=False,
                    name="state",
                )
                for i, (shape, dtype) in enumerate(zip(shapes, dtypes, strict=True))
            ]
            if self.weights:
                self._is_fresh = keras.Variable("ones", shape=(), dtype="bool", trainable=False, name="fresh")

    def initial_state(self, batch_size: int) -> list[Tensor]:
        """Return the list of the states before the first step."""
        raise NotImplementedError

    def start_from_states(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return ``x`` and copies of the states; raise ValueError if their batch sizes differ."""
        size = self.states[0].shape[0]
        message = (
            f"The stateful layer {self.name!r} was built for batches of {size} samples. Drop a smaller last batch, or "
            "build the model with another `batch_size`. Samples received:"
        )
        if x.shape[0] not in (None, size):
            raise ValueError(f"{message} {x.shape[0]}.")
        x, states = start_from([ops.convert_to_tensor(state) for state in self.states], x, message)
        if self._is_fresh is not None:
            initial, fresh = self.initial_state(ops.shape(x)[0]), ops.copy(self._is_fresh)
            states = [ops.where(fresh, *values) for values in zip(initial, states, strict=True)]
        return x, states

    def __setattr__(self, name, value):
        if name in ("states", "_is_fresh"):  # Keras would track the variables as weights
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    @property
    def variables(self) -> list[Any]:
        """All variables. They include the states, which Keras must know to update them in compiled code.

        On PyTorch the states are left out, because they would enter ``state_dict``.
        """
        return super().variables + ([] if keras.config.backend() == "torch" else self.carried)

    @property
    def carried(self) -> list[Any]:
        """The variables that keep their values between calls."""
        return [*(self.states or ()), *(() if self._is_fresh is None else (self._is_fresh,))]

    def keep_states(self, states: list[Tensor]) -> None:
        """Assign ``states`` to the variables. No gradient flows from one call to the next."""
        for variable, value in zip(self.states, states, strict=True):
            variable.assign(ops.stop_gradient(value))
        if self._is_fresh is not None:
            self._is_fresh.assign(False)

    def reset_states(self, states: Any = None) -> None:
        """Reset a stateful layer to its initial states, or to ``states``."""
        if not self.stateful:
            raise AttributeError(f"{self.name!r} has no states to reset: it is not stateful.")
        if self.states is None:
            raise ValueError(f"{self.name!r} has no states yet: build or call it first.")
        is_fresh = states is None
        if is_fresh:
            states = self.initial_state(self.states[0].shape[0])
        states = states if isinstance(states, (list, tuple)) else [states]
        if len(states) != len(self.states):
            raise ValueError(f"`states` needs {len(self.states)} values for {self.name!r}, got {len(states)}.")
        for variable, value in zip(self.states, states, strict=True):
            variable.assign(value)
        if self._is_fresh is not None:
            self._is_fresh.assign(is_fresh)

    reset_state = reset_states
