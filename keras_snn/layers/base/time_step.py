"""The time step dt of a layer: a number, or a variable that layers share."""

import math
import numbers
import uuid
import weakref

import keras
from keras import ops

from keras_snn import probe
from keras_snn.config import default


class _SharedTimeStep:
    """A variable dt, and the identity by which the configs of the layers that share it name it."""

    _of_variable = weakref.WeakValueDictionary()
    _loaded = weakref.WeakValueDictionary()

    def __init__(self, variable):
        self.variable = variable
        self.id = uuid.uuid4().hex
        self.loaded_by = set()

    @classmethod
    def of(cls, variable):
        """Return the one object for ``variable``."""
        shared = cls._of_variable.get(id(variable))
        if shared is None:
            shared = cls._of_variable[id(variable)] = cls(variable)
        return shared

    @classmethod
    def from_config(cls, config, layer_name):
        """Make a new variable, or return the one that another layer of the same model has made from this config.

        A second request under one layer name begins another model, which gets a variable of its own.
        """
        shared = cls._loaded.get(config["id"])
        if shared is None or layer_name in shared.loaded_by:
            shared = cls.of(keras.Variable(config["value"], dtype="float32", trainable=False, name="dt"))
            cls._loaded[config["id"]] = shared
        shared.loaded_by.add(layer_name)
        return shared

    def get_config(self):
        return {"id": self.id, "value": float(ops.convert_to_numpy(ops.convert_to_tensor(self.variable)))}


class HasTimeStep(keras.layers.Layer):
    """A layer with the property ``dt``, in seconds.

    ``dt`` is configuration, as a number and as a variable: it is never among ``weights``, so that weights go from one
    dt to another, and it is always in the config, so that a saved model carries it.
    """

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
        scope = probe.current()
        if scope is not None and scope.dt is not None:
            return scope.dt
        return self._dt if isinstance(self._dt, float) else self._dt.variable

    @dt.setter
    def dt(self, dt):
        self._dt = _parse(dt, self.name)

    @property
    def variables(self):
        """All variables, the shared dt among them: Keras has to know it to see its changes inside compiled code."""
        variables = super().variables
        dt = getattr(getattr(self, "_dt", None), "variable", None)
        if isinstance(dt, keras.Variable) and not any(dt is v for v in variables):
            variables = [*variables, dt]
        return variables

    def get_config(self):
        return {**super().get_config(), "dt": self._dt if isinstance(self._dt, float) else self._dt.get_config()}


def is_variable(dt):
    """Tell whether ``dt`` is a variable rather than a number: a Keras one, or one of TensorFlow's."""
    return isinstance(dt, keras.Variable) or (hasattr(dt, "assign") and hasattr(dt, "shape"))


def check_dt(dt):
    """Return ``dt`` as a float, or raise an error."""
    if isinstance(dt, bool) or not isinstance(dt, numbers.Real):
        raise TypeError(f"`dt` has to be a number in seconds or a scalar variable; got {dt!r}.")
    if not (math.isfinite(dt) and dt > 0):
        raise ValueError(f"`dt` has to be a positive, finite number of seconds; got {dt!r}.")
    return float(dt)


def _parse(dt, layer_name):
    """Return a float or a ``_SharedTimeStep``."""
    if isinstance(dt, _SharedTimeStep):
        return dt
    if isinstance(dt, dict):
        return _SharedTimeStep.from_config(dt, layer_name)
    if not is_variable(dt):
        return check_dt(dt)
    if tuple(dt.shape) != ():
        raise ValueError(f"A variable `dt` has to be a scalar; got shape {tuple(dt.shape)}.")
    check_dt(float(ops.convert_to_numpy(ops.convert_to_tensor(dt))))
    if isinstance(dt, keras.Variable):
        dt.trainable = False
    return _SharedTimeStep.of(dt)
