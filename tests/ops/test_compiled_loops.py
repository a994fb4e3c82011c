"""The programs that XLA makes of the loops over time."""

import re

import numpy as np
import pytest
from reference.autodiff import BACKEND

from keras_snn import layers

SHAPE = (6, 13, 40)  # batch, time, units
WHOLE = re.compile(r"= f32\[(6,13,40|13,6,40)\]\S* copy\(")

pytestmark = pytest.mark.skipif(BACKEND == "torch", reason="PyTorch compiles single steps, not the loop")


@pytest.mark.parametrize("neuron", [layers.LIF, layers.PLIF, layers.Synaptic, layers.ALIF, layers.IF])
def test_no_tensor_of_all_steps_is_copied(neuron):
    """XLA merges equal tensors, such as those to fill in the forward and in the backward loop, and copies them."""
    program = forward_and_backward(neuron())
    assert program.count(" while(") == 2
    assert not WHOLE.findall(program)


def forward_and_backward(layer):
    """Return the optimized program of the outputs and the gradient of the inputs."""
    layer.build(SHAPE)
    x = np.zeros(SHAPE, "float32")
    if BACKEND == "tensorflow":
        import tensorflow as tf

        @tf.function(jit_compile=True)
        def run(x, upstream):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = layer(x, training=True)
            return y, tape.gradient(y, x, upstream)

        x = tf.constant(x)
        return run.experimental_get_compiler_ir(x, x)(stage="optimized_hlo")
    import jax

    values = [[v.value for v in v_list] for v_list in (layer.trainable_variables, layer.non_trainable_variables)]

    @jax.jit
    def run(x, upstream):
        y, pull_back = jax.vjp(lambda x: layer.stateless_call(*values, x, training=True)[0], x)
        return y, pull_back(upstream)

    return run.lower(x, x).compile().as_text()
