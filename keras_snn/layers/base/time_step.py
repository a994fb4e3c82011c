"""The time step dt of a layer: a number, or a variable that layers share."""

import contextlib
import math
import numbers
import uuid
import weakref
from typing import ClassVar

import keras

from keras_snn import probe
from keras_snn.config import default
from keras_snn.layers.base.arguments import Arguments


class _SharedTimeStep:
    """A variable dt, and the identity by which the configs of the layers that share it name it."""

    _of_variable: ClassVar = weakref.WeakValueDictionary()
    _loaded: ClassVar = weakref.WeakValueDictionary()

    def __init__(self, variable):
        self.variable = variable
        self.id = uuid.uuid4().hex
        self.users = weakref.WeakKeyDictionary()
        self.loaded_by = set()

    @classmethod
    def of(cls, variable):
        """Return the one object for ``variable``."""
        shared = cls._of_variable.get(id(variable))
        if shared is None:
            check_variable(variable)
            shared = cls._of_variable[id(variable)] = cls(variable)
        return shared

    @classmethod
    def from_config(cls, config):
        """Make a new variable, or return the one that another layer of the same model has made from this config.

        A second request for the same layer begins another model, which gets a variable of its own.
        """
        shared = cls._loaded.get(config["id"])
        if shared is None or config["layer"] in shared.loaded_by:
            shared = cls.of(keras.Variable(config["value"], dtype="float32", trainable=False, name="dt"))
            cls._loaded[config["id"]] = shared
        shared.loaded_by.add(config["layer"])
        return shared

    def get_config(self, layer):
        # Not by its name: nested models may hold layers of the same name.
        user = self.users.setdefault(layer, uuid.uuid4().hex)
        return {"id": self.id, "layer": user, "value": float(self.variable.numpy())}


class HasTimeStep(Arguments, keras.layers.Layer):
    """A layer with the property ``dt``, in seconds.

    ``dt`` is configuration, as a number and as a variable: it is never among ``weights``, so that weights go from one
    dt to another, and it is always in the config, so that a saved model carries it.
    """

    changeable = ("dt",)

    def __init__(self, dt=None, **kwargs):
        # What accumulates must not be rounded to half precision on the way in: the layers cast their inputs themselves.
        super().__init__(autocast=False, **kwargs)
        self.dt = default.dt if dt is None else dt

    def __setattr__(self, name, value):
        if name == "dt":  # Keras would take a variable for a weight
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    @property
    def dt(self):
        """The time step in force: that of an open ``probe.scope``, else the layer's own."""
        dt = probe.dt()
        if dt is not None:
            return dt
        return self._dt if self.dt_variable is None else self.dt_variable

    @dt.setter
    def dt(self, dt):
        self._dt = _parse(dt)

    @property
    def dt_variable(self):
        """The layer's own dt if that is a variable, else None."""
        return getattr(getattr(self, "_dt", None), "variable", None)  # Keras asks before __init__ is through

    @property
    def variables(self):
        """All variables, the shared dt among them: Keras has to know it to see its changes inside compiled code.

        Not on PyTorch, which sees them anyway, and would take it into ``state_dict``.
        """
        variables = super().variables
        if keras.config.backend() == "torch":
            return variables
        dt = self.dt_variable
        if isinstance(dt, keras.Variable) and not any(dt is v for v in variables):
            variables = [*variables, dt]
        return variables

    def add_weight(self, *args, autocast=False, **kwargs):
        """Make a weight, which mixed precision does not round to half where the layer reads it."""
        return super().add_weight(*args, autocast=autocast, **kwargs)

    def get_config(self):
        return {**super().get_config(), "dt": self._dt if self.dt_variable is None else self._dt.get_config(self)}


def layers_with_dt(model):
    """Return the layers and cells of this package in ``model``, nested and wrapped ones too."""
    return [layer for layer in model._flatten_layers() if isinstance(layer, HasTimeStep)]


def is_variable(dt):
    """Tell whether ``dt`` is a variable rather than a number: a Keras one, or on TensorFlow one of its own."""
    if keras.config.backend() == "tensorflow" and hasattr(dt, "assign") and hasattr(dt, "shape"):
        return True
    return isinstance(dt, keras.Variable)


def check_dt(dt):
    """Return ``dt`` as a float, or raise an error."""
    if isinstance(dt, bool) or not isinstance(dt, numbers.Real):
        raise TypeError(
            "`dt` must be a number in seconds or a scalar variable (`keras.Variable`, or `tf.Variable` on the "
            f"TensorFlow backend only), got {dt!r}."
        )
    if not (math.isfinite(dt) and dt > 0):
        raise ValueError(f"`dt` must be a positive, finite number of seconds, got {dt!r}.")
    return float(dt)


def check_variable(dt):
    """Raise an error if the variable ``dt`` cannot be a time step; make it non-trainable."""
    dtype = keras.backend.standardize_dtype(dt.dtype)
    if tuple(dt.shape) != () or "float" not in dtype:
        raise ValueError(f"A variable `dt` must be a float scalar, got shape {tuple(dt.shape)} and dtype {dtype}.")
    # A layer made inside a TensorFlow graph, by the `build` of another, cannot read the value.
    with contextlib.suppress(NotImplementedError):
        check_dt(float(dt.numpy()))
    if isinstance(dt, keras.Variable):
        dt.trainable = False
        dt._autocast = False  # Keras has no public way to say that half precision must not round a variable


def _parse(dt):
    """Return a float or a ``_SharedTimeStep``."""
    if isinstance(dt, _SharedTimeStep):
        return dt
    if isinstance(dt, dict):
        return _SharedTimeStep.from_config(dt)
    return _SharedTimeStep.of(dt) if is_variable(dt) else check_dt(dt)
