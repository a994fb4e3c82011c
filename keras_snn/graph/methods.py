"""Replace methods of a model's layers for the calls of one thread."""

import contextlib
import threading
from collections.abc import Callable, Iterator

import keras

_lock = threading.Lock()
#: For each replaced method, by layer and name: the number of open blocks, and the layer's attribute before the first.
_replaced = {}
#: ``_local.blocks`` are the arguments of the blocks that are open in this thread.
_local = threading.local()


@contextlib.contextmanager
def replaced(replacements: dict[tuple[keras.layers.Layer, str], Callable]) -> Iterator[None]:
    """Replace methods of layers while the block runs. Calls from other threads run the original methods.

    Several threads may open blocks for one layer, and close them in any order. In one thread, the replacements of an
    inner block receive the methods of the outer one.

    Args:
        replacements: Dict from the pair of layer and name of a method to a function that returns the method to run,
            given the present one.
    """
    opened, blocks = [], vars(_local).setdefault("blocks", [])
    try:
        for key in replacements:
            with _lock:
                _open(*key)
            opened.append(key)
        blocks.append(replacements)
        yield
    finally:
        blocks[:] = [block for block in blocks if block is not replacements]
        for key in opened:
            with _lock:
                _close(*key)


def without_rematerialization(model: keras.Model) -> dict[tuple[keras.layers.Layer, str], Callable]:
    """Return the replacements that disable rematerialization: values of JAX's inner trace must not leave it."""
    parts = (part for part in model._flatten_layers() if getattr(part, "_remat_mode", None))
    return {(part, "rematerialized_call"): _plain_call for part in parts}


def _plain_call(_):
    return lambda call, *args, **kwargs: call


def _open(layer, name):
    n_blocks, own = _replaced.get((layer, name), (0, vars(layer).get(name)))
    if not n_blocks:
        method = getattr(layer, name)

        def run(*args, **kwargs):
            function = method
            for block in getattr(_local, "blocks", ()):
                if (layer, name) in block:
                    function = block[layer, name](function)
            return function(*args, **kwargs)

        vars(layer)[name] = run  # on the instance: it hides the method of the class
    _replaced[layer, name] = n_blocks + 1, own


def _close(layer, name):
    n_blocks, own = _replaced.pop((layer, name))
    if n_blocks > 1:
        _replaced[layer, name] = n_blocks - 1, own
        return
    del vars(layer)[name]
    if own is not None:
        vars(layer)[name] = own
