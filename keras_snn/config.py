"""Package-wide defaults."""

from types import SimpleNamespace

#: ``default.dt``: the time step, in seconds, of a layer that is made without one. It is read when the layer is made;
#: a later change does not reach layers that exist.
default = SimpleNamespace(dt=0.001)
