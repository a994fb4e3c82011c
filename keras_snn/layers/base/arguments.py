"""Which constructor arguments of a layer can be changed after it was built."""

import functools
import inspect

from keras_snn.layers.base.registration import warn_if_not_registered


class Arguments:
    """Mixin that raises AttributeError for setting a constructor argument which a built layer no longer reads.

    A new value of an argument in ``changeable`` takes effect in the next call; in compiled functions, after
    ``compile()``.
    """

    #: Constructor arguments that may be set after the layer was built.
    changeable = ()

    def __setattr__(self, name, value):
        if getattr(self, "built", False) and name in _fixed(type(self)) and hasattr(self, name):
            names = ", ".join(sorted(_changeable(type(self)))) or "none"
            raise AttributeError(
                f"`{name}` of {self.name!r} cannot be changed after the layer was built. Make a new layer. Arguments "
                f"that can be changed: {names}."
            )
        super().__setattr__(name, value)

    def get_build_config(self):
        warn_if_not_registered(self)  # Keras calls this method only when it saves
        return super().get_build_config()


@functools.cache
def _fixed(cls):
    ours = (c for c in cls.__mro__ if c.__module__.startswith("keras_snn.") and "__init__" in vars(c))
    names = {name for c in ours for name in inspect.signature(c.__init__).parameters}
    return names - {"self", "args", "kwargs"} - _changeable(cls)


@functools.cache
def _changeable(cls):
    own = getattr(cls, "parameter_names", ())
    return {*own, *(name for c in cls.__mro__ for name in vars(c).get("changeable", ()))}
