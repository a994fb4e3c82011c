"""A fingerprint of a model's Python state: a compiled function is valid as long as the fingerprint is equal."""

import functools
import sys
import types
import weakref
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis))
_BY_IDENTITY = (
    *(keras.Variable, keras.KerasTensor),
    *(types.BuiltinFunctionType, types.MethodWrapperType, types.CodeType, types.ModuleType),
    *(types.ClassMethodDescriptorType, types.GetSetDescriptorType, types.MemberDescriptorType),
    *(types.MethodDescriptorType, types.WrapperDescriptorType),
)
_LIBRARIES = {"keras", "keras_snn", *sys.stdlib_module_names} - {"__main__"}
_IMMUTABLE_TYPE = 1 << 8  # Py_TPFLAGS_IMMUTABLETYPE: a class whose attributes Python code cannot set

#: Attributes that Keras sets in a layer when it is called.
_CALL_ATTRIBUTES = {"_called", "_losses", "_loss_ids", "_losses_override"}
#: Attributes that ``compile`` and ``fit`` add to a model. ``_training_attributes`` adds those of every new model.
_TRAINING_ATTRIBUTES = {
    "_compile_config",
    "_compiled_trainable_state",
    "_eval_epoch_iterator",
    "_jax_state",
    "_self_unconditional_checkpoint_dependencies",
    "_self_unconditional_dependency_names",
    "history",
    "optimizer",
    "stop_evaluating",
    "stop_predicting",
    "stop_training",
}


#: Whether objects of a class are tensors. Cached: TensorFlow takes 25 us to check one object.
_tensor_classes: weakref.WeakKeyDictionary[type, bool] = weakref.WeakKeyDictionary()


class Identity:
    """A token that equals only tokens of the same object. Keeps the object alive, so that its ``id`` stays unique."""

    __slots__ = ("target",)

    def __init__(self, target: Any) -> None:
        self.target = target

    def __eq__(self, other):
        return isinstance(other, Identity) and self.target is other.target

    def __hash__(self):
        return id(self.target)


def cache_of_models(n_models: int) -> Callable[[keras.Model, Hashable], dict]:
    """Return a function ``(model, settings)`` that returns a dict, the same one while model and settings are equal.

    Tools keep compiled functions there for their next call: compilation takes seconds. The dicts of the last
    ``n_models`` models are kept.
    """

    @functools.lru_cache(maxsize=n_models)
    def cache(model, settings):
        del model, settings
        return {}

    return cache


def fingerprint(state: Any, leave_out: str | None = None) -> Hashable:
    """Return a hashable value that stays equal as long as no part of ``state`` changes.

    - Numbers, strings and NumPy arrays are compared by value.
    - Containers, objects and classes are compared by their parts, at any depth.
    - Functions are compared by identity, and by the parts of their closures, their defaults and the values that they
      use from modules of the user. Functions, classes and modules of installed packages are compared by identity only.
    - Variables and tensors are compared by identity: a compiled function reads a variable's value in each call.
    - Any other object makes the fingerprint differ from all others.

    Attributes that Keras sets in a call of a layer, and those for the training of a model, are left out.

    Args:
        state: A model, or any other object.
        leave_out: Name of an attribute that is left out if its value is a float.
    """
    tokens: list[tuple] = []
    known: dict[int, tuple] = {}
    stack = [state]
    while stack:
        part = stack.pop()
        if isinstance(part, _PLAIN) and type(part) in _PLAIN:
            # The type distinguishes 1, 1.0 and True. The text distinguishes 0.0 and -0.0, and makes NaN equal itself.
            tokens.append((type(part), repr(part) if isinstance(part, (float, complex)) else part))
        elif id(part) in known:
            tokens.append((Identity, known[id(part)][0]))
        else:
            known[id(part)] = len(known), part  # keeps temporary parts alive, so that no other part gets their id
            token, parts = _open(part, leave_out)
            tokens.append((*token, len(parts)))
            stack.extend(reversed(parts))
    return tuple(tokens)


def _open(part, leave_out):
    """Return a hashable token of an object, and the list of the parts to compare."""
    cls: Any = type(part)
    if isinstance(part, np.ndarray) and cls is np.ndarray and part.dtype != object:
        return (cls, part.dtype.str, part.shape, part.tobytes()), []
    if isinstance(part, _BY_IDENTITY) or _is_tensor(part):
        return (Identity(part),), []
    if isinstance(part, Identity):
        return (part,), []
    if isinstance(part, weakref.ref):
        return (cls, Identity(part())), []
    if isinstance(part, type):
        return (Identity(part),), _parts_of_class(part)
    if isinstance(part, types.FunctionType):
        return (Identity(part),), _parts_of_function(part)
    if hasattr(cls, "__func__"):  # a method, staticmethod or classmethod
        return (cls,), [part.__func__, part.__self__ if cls is types.MethodType else None]
    if isinstance(part, property):
        return (cls,), [part.fget, part.fset, part.fdel]
    if isinstance(part, types.CellType):
        return (cls,), _parts_of_cell(part)
    parts = [cls, *_contents(part)]
    if _is_python(cls) or isinstance(part, (dict, types.MappingProxyType, list, tuple, set, frozenset)):
        return (cls,), parts + _attributes(part, leave_out)
    try:  # pickle's state: a function, its arguments, attributes and items
        reduced = part.__reduce_ex__(4)
    except Exception:  # pickle raises many types of errors
        return (Identity(object()),), []
    if isinstance(reduced, str):  # the name of a constant
        return (Identity(part),), []
    return (cls,), [cls, *(list(value) if isinstance(value, Iterator) else value for value in reduced)]


def _is_tensor(part):
    cls = type(part)
    if cls not in _tensor_classes:
        _tensor_classes[cls] = ops.is_tensor(part)
    return _tensor_classes[cls]


def _flat(items):
    """Return the list of the names and values of pairs (name, value)."""
    return [entry for item in items for entry in item]


def _contents(part):
    if isinstance(part, (dict, types.MappingProxyType)):
        return _flat(part.items())
    return list(part) if isinstance(part, (list, tuple, set, frozenset)) else []


def _attributes(part, leave_out):
    """Return the names and values of an object's attributes in its ``__dict__`` and in its slots."""
    left_out = _CALL_ATTRIBUTES if isinstance(part, keras.layers.Layer) else set()
    left_out = left_out | _training_attributes() if isinstance(part, keras.Model) else left_out
    cls: Any = type(part)
    slots = {name: getattr(part, name) for name in _slots(cls) if hasattr(part, name)}
    attributes = {**getattr(part, "__dict__", {}), **slots}.items()
    return _flat(
        (name, value)
        for name, value in attributes
        if not (name in left_out or (name == leave_out and isinstance(value, float)))
    )


def _parts_of_class(cls):
    if cls.__flags__ & _IMMUTABLE_TYPE:
        return []
    # `_abc_impl` is a cache of the module abc. Of the names with underscores, only functions and properties matter:
    # they have the method __get__, unlike __doc__ and __annotations__.
    compared = (
        (name, value)
        for name, value in vars(cls).items()
        if name != "_abc_impl" and (not name.startswith("__") or hasattr(type(value), "__get__"))
    )
    if _is_of_library(cls):  # not the closures of methods that a library replaces for a while, as torch.fx does
        compared = ((name, Identity(value) if _is_function_of_library(value) else value) for name, value in compared)
    return [*cls.__bases__, *_flat(compared)]


def _parts_of_function(function):
    values, names = function.__globals__, _names(function.__code__)
    used = ((name, _module_value(values[name], names)) for name in names if name in values)
    return [
        function.__code__,
        function.__defaults__,
        function.__kwdefaults__,
        *(function.__closure__ or ()),
        *_flat(used),
    ]


def _module_value(value, names):
    """Return the part to compare for a value in a module, for code that looks up these names."""
    if not isinstance(value, (type, types.ModuleType, types.BuiltinFunctionType, types.FunctionType)):
        return value
    if _is_of_library(value):  # comparing its parts would visit all modules
        return Identity(value)
    if isinstance(value, types.ModuleType):
        return [Identity(value), *_flat((name, vars(value)[name]) for name in names if name in vars(value))]
    return value


def _is_of_library(value):
    """Return whether a function, class or module belongs to Python, to this package, or to an installed package."""
    return _is_library(value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", None))


def _is_library(name):
    root = (name or "builtins").partition(".")[0]
    file = getattr(sys.modules.get(root), "__file__", None) or ""
    return root in _LIBRARIES or "site-packages" in file or "dist-packages" in file


def _is_function_of_library(value):
    return isinstance(value, types.FunctionType) and _is_library(value.__globals__.get("__name__"))


def _parts_of_cell(cell):
    try:
        return [cell.cell_contents]
    except ValueError:  # the variable has no value yet
        return []


@functools.cache
def _names(code):
    """Return the names that the code of a function, and of functions inside it, may look up in its module."""
    inner = (_names(constant) for constant in code.co_consts if isinstance(constant, types.CodeType))
    return tuple(dict.fromkeys([*code.co_names, *_flat(inner)]))


@functools.cache
def _training_attributes():
    return _TRAINING_ATTRIBUTES | (vars(keras.Model()).keys() - vars(keras.layers.Layer()).keys())


@functools.cache
def _slots(cls):
    """Return the names of the attributes in the slots of a class and its bases."""
    attributes = []
    for base in cls.__mro__:
        names = vars(base).get("__slots__", ())
        for name in [names] if isinstance(names, str) else names:
            private = name.startswith("__") and not name.endswith("__")
            attributes.append(f"_{base.__name__.lstrip('_')}{name}" if private else name)
    return tuple(name for name in attributes if name not in ("__dict__", "__weakref__"))


@functools.cache
def _is_python(cls):
    """Return whether instances of a class have only attributes, and no data of a class written in C."""
    pointer = tuple.__itemsize__
    n_pointers = len(_slots(cls)) + (cls.__dictoffset__ > 0) + (cls.__weakrefoffset__ > 0)
    return cls.__itemsize__ == 0 and cls.__basicsize__ <= object.__basicsize__ + pointer * n_pointers
