"""Package-wide defaults."""

from types import SimpleNamespace

#: ``default.dt``: the time step, in seconds, of a layer that is made without one. It is read when the layer is made;
#: a later change does not reach layers that exist.
#:
#: ``default.compile_steps``: whether PyTorch's engine compiles the steps of neurons with ``torch.compile``. It does so
#: after some calls, in about four seconds for each kind of neuron, and needs a C++ compiler. Without effect on other
#: backends, which always compile.
default = SimpleNamespace(dt=0.001, compile_steps=True)
