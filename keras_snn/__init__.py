"""Spiking neural networks as ordinary Keras 3 layers."""

import itertools
import os
import sys

from keras_snn._version import __version__ as __version__


def _is_command():
    """Return whether this process is ``keras-snn`` or ``python -m keras_snn``.

    The command imports Keras later and only if needed, so that ``--help`` and ``list`` are fast.
    """
    arguments = sys.orig_argv
    as_module = sys.argv[:1] == ["-m"] and ("-m", "keras_snn") in itertools.pairwise(arguments)
    return as_module or os.path.basename(sys.argv[0] if sys.argv else "").split(".")[0] == "keras-snn"


if not _is_command():
    from keras_snn.public import *  # noqa: F403
    from keras_snn.public import __all__ as __all__
