"""Package-wide defaults."""

from types import SimpleNamespace

#: ``default.dt``: the time step, in seconds, of a layer that is made without one. It is read when the layer is made;
#: a later change does not reach layers that exist.
#:
#: ``default.compile_steps``: whether PyTorch's engine compiles time steps by TorchInductor. It compiles in the
#: 20th call with the same shapes, in about five seconds for the first neuron and two for each further kind. It needs a
#: C++ compiler. No effect on TensorFlow and JAX.
default = SimpleNamespace(dt=0.001, compile_steps=True)
