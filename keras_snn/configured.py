"""The base of objects that their arguments define: surrogates, learning rules, activations with constants."""

from typing import ClassVar

from keras_snn.hints import Config


class Configured:
    """Base class of objects that are defined by their arguments. Each argument is an attribute of the same name.

    Objects of one class with equal attributes compare equal, so the engine compiles them once.
    """

    #: Names of the arguments. Each is an attribute.
    names: ClassVar[tuple[str, ...]] = ()

    def get_config(self) -> Config:
        """Return the arguments by name."""
        return {name: getattr(self, name) for name in self.names}

    @classmethod
    def from_config(cls, config):
        return cls(**config)

    def __eq__(self, other):
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self):
        return hash((type(self), *map(str, vars(self).values())))

    def __repr__(self):
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.get_config().items())})"
