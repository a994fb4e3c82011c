"""Protection of constructor arguments that a built layer no longer reads."""

import functools
import inspect
from typing import ClassVar

import keras

from keras_snn.layers.base.registration import warn_if_not_registered


class Arguments(keras.layers.Layer):
    """Mixin that refuses new values of constructor arguments after the layer is built, with an AttributeError.

    Arguments in ``changeable`` can be set. A new value takes effect in the next call; in compiled functions, after
    ``compile()``.
    """

    #: Constructor arguments that may be set after the layer was built.
    changeable: ClassVar[tuple[str, ...]] = ()

    def __setattr__(self, name, value):
        if getattr(self, "built", False) and name in _fixed_names(type(self)) and hasattr(self, name):  # type: ignore[arg-type]
            names = ", ".join(sorted(_changeable_names(type(self)))) or "none"  # type: ignore[arg-type]
            raise AttributeError(
                f"`{name}` of {self.name!r} cannot be changed after the layer was built. Make a new layer. Arguments "
                f"that can be changed: {names}."
            )
        super().__setattr__(name, value)

    def get_build_config(self):
        warn_if_not_registered(self)  # Keras calls this method only when it saves
        return super().get_build_config()


@functools.cache
def _fixed_names(cls):
    bases = (base for base in cls.__mro__ if base.__module__.startswith("keras_snn.") and "__init__" in vars(base))
    names = {name for base in bases for name in inspect.signature(base.__init__).parameters}
    return names - {"self", "args", "kwargs"} - _changeable_names(cls)


@functools.cache
def _changeable_names(cls):
    parameters = getattr(cls, "parameter_names", ())
    return {*parameters, *(name for base in cls.__mro__ for name in vars(base).get("changeable", ()))}
