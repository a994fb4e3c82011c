"""The time step dt of a layer: a number, or a variable shared by layers."""

import contextlib
import math
import numbers
import uuid
import weakref
from typing import Any, ClassVar

import keras

from keras_snn import probe
from keras_snn.config import default
from keras_snn.layers.base.arguments import Arguments


class _SharedTimeStep:
    """A variable dt with an id. The configs of all layers that share the variable contain the id."""

    _by_variable: ClassVar = weakref.WeakValueDictionary()
    _by_loaded_id: ClassVar = weakref.WeakValueDictionary()

    def __init__(self, variable):
        self.variable = variable
        self.id = uuid.uuid4().hex
        self.layer_ids = weakref.WeakKeyDictionary()
        self.loaded_layer_ids = set()

    @classmethod
    def from_variable(cls, variable):
        """Return the object of ``variable``. There is one object for each variable."""
        shared = cls._by_variable.get(id(variable))
        if shared is None:
            check_variable(variable)
            shared = cls._by_variable[id(variable)] = cls(variable)
        return shared

    @classmethod
    def from_config(cls, config):
        """Return the object that another layer of the same model made from this config, or make one.

        If the same layer is loaded again, it belongs to another model, which gets a new variable.
        """
        shared = cls._by_loaded_id.get(config["id"])
        if shared is None or config["layer"] in shared.loaded_layer_ids:
            shared = cls.from_variable(keras.Variable(config["value"], dtype="float32", trainable=False, name="dt"))
            cls._by_loaded_id[config["id"]] = shared
        shared.loaded_layer_ids.add(config["layer"])
        return shared

    def get_config(self, layer):
        # An id instead of the name: nested models may contain layers of the same name.
        layer_id = self.layer_ids.setdefault(layer, uuid.uuid4().hex)
        return {"id": self.id, "layer": layer_id, "value": float(self.variable.numpy())}


class HasTimeStep(Arguments, keras.layers.Layer):
    """A layer with the property ``dt``, in seconds.

    ``dt`` is configuration, both as a number and as a variable. It is never among ``weights``: weights can be moved
    between models with different dt. It is always in the config: a saved model contains it.
    """

    changeable: ClassVar[tuple[str, ...]] = ("dt",)

    def __init__(self, dt: Any = None, **kwargs: Any) -> None:
        # The layers cast their inputs: values that accumulate must not be rounded to half precision.
        super().__init__(autocast=False, **kwargs)
        self.dt = default.dt if dt is None else dt

    def __setattr__(self, name, value):
        if name == "dt":  # Keras would track a variable as a weight
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    @property
    def dt(self) -> Any:
        """The current time step: that of an open ``probe.scope``, else that of the layer."""
        dt = probe.dt()
        if dt is not None:
            return dt
        return self._dt if self.dt_variable is None else self.dt_variable

    @dt.setter
    def dt(self, dt: Any) -> None:
        self._dt = _parse_dt(dt)

    @property
    def dt_variable(self) -> Any:
        """The dt of the layer if it is a variable, else None."""
        return getattr(getattr(self, "_dt", None), "variable", None)  # Keras reads it before __init__ has finished

    @property
    def variables(self) -> list[Any]:
        """All variables. They include a shared dt, so that its changes take effect in compiled code.

        On PyTorch it is left out: its changes take effect without this, and it would enter ``state_dict``.
        """
        variables = super().variables
        if keras.config.backend() == "torch":
            return variables
        dt = self.dt_variable
        if isinstance(dt, keras.Variable) and not any(dt is v for v in variables):
            variables = [*variables, dt]
        return variables

    def add_weight(self, *args: Any, autocast: bool = False, **kwargs: Any) -> keras.Variable:
        """Make a weight that mixed precision does not cast to half precision."""
        return super().add_weight(*args, autocast=autocast, **kwargs)

    def get_config(self):
        return {**super().get_config(), "dt": self._dt if self.dt_variable is None else self._dt.get_config(self)}


def layers_with_dt(model: keras.layers.Layer) -> list["HasTimeStep"]:
    """Return the layers and cells of this package in ``model``, including nested and wrapped ones."""
    return [layer for layer in model._flatten_layers() if isinstance(layer, HasTimeStep)]


def is_variable(dt: Any) -> bool:
    """Return whether ``dt`` is a ``keras.Variable`` or, on TensorFlow, a ``tf.Variable``."""
    if keras.config.backend() == "tensorflow" and hasattr(dt, "assign") and hasattr(dt, "shape"):
        return True
    return isinstance(dt, keras.Variable)


def check_dt(dt: Any) -> float:
    """Return ``dt`` as a float, or raise TypeError or ValueError."""
    if isinstance(dt, bool) or not isinstance(dt, numbers.Real):
        raise TypeError(
            "`dt` must be a number in seconds or a scalar variable (`keras.Variable`, or `tf.Variable` on the "
            f"TensorFlow backend only), got {dt!r}."
        )
    if not (math.isfinite(dt) and float(dt) > 0):
        raise ValueError(f"`dt` must be a positive, finite number of seconds, got {dt!r}.")
    return float(dt)


def check_variable(dt: Any) -> None:
    """Raise ValueError if the variable ``dt`` cannot be a time step; make it non-trainable."""
    dtype = keras.backend.standardize_dtype(dt.dtype)
    if tuple(dt.shape) != () or "float" not in dtype:
        raise ValueError(f"A variable `dt` must be a float scalar, got shape {tuple(dt.shape)} and dtype {dtype}.")
    # Inside a TensorFlow graph, as in the `build` of another layer, the value cannot be read.
    with contextlib.suppress(NotImplementedError):
        check_dt(float(dt.numpy()))
    if isinstance(dt, keras.Variable):
        dt.trainable = False
        dt._autocast = False  # Keras has no public way to turn off the autocasting of a variable


def _parse_dt(dt):
    """Return a float or a ``_SharedTimeStep``."""
    if isinstance(dt, _SharedTimeStep):
        return dt
    if isinstance(dt, dict):
        return _SharedTimeStep.from_config(dt)
    return _SharedTimeStep.from_variable(dt) if is_variable(dt) else check_dt(dt)
