"""A fingerprint of the Python state of a model. What was compiled for a model holds while its fingerprint is equal."""

import functools
import types
import weakref

import keras
import numpy as np
from keras import ops

_FUNCTIONS = (types.FunctionType, types.MethodType, staticmethod, classmethod, property)
_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis))
_UNCHANGING = (
    types.BuiltinFunctionType,
    types.ClassMethodDescriptorType,
    types.CodeType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
    types.MethodDescriptorType,
    types.MethodWrapperType,
    types.ModuleType,
    types.WrapperDescriptorType,
)
_IMMUTABLE_TYPE = 1 << 8  # Py_TPFLAGS_IMMUTABLETYPE: a class whose attributes Python code cannot set

#: What Keras keeps of a call in a layer: that there was one, and the losses.
_OF_A_CALL = {"_called", "_losses", "_loss_ids", "_losses_override"}
#: What it keeps of ``compile`` and ``fit`` in a model, beside what any new model has. Two are lists of attributes.
_OF_A_TRAINING = {
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


class Identity:
    """An object that equals nothing but itself. Kept here, it cannot leave its ``id`` to another one."""

    __slots__ = ("whose",)

    def __init__(self, whose):
        self.whose = whose

    def __eq__(self, other):
        return isinstance(other, Identity) and self.whose is other.whose

    def __hash__(self):
        return id(self.whose)


def fingerprint(state, leave_out=lambda name, value: False):
    """Return a hashable value that is equal as long as nothing that ``state`` is made of has changed.

    Numbers, strings and NumPy arrays enter by value. Containers and objects, classes too, enter by their parts, at any
    depth. Functions enter by identity, with the parts of their closures, of their defaults and of the objects that they
    name in their module. Functions, classes and modules named there enter by identity alone, as variables and tensors
    do everywhere: a compiled function reads a variable's value in each call. The fingerprint of anything else equals no
    other.

    Left out are the losses that Keras keeps of the last call of a layer, and the optimizer, history and functions that
    it keeps in a model for training.

    Args:
        state: A model, or any other object.
        leave_out: Callable ``(name, value)``, true for further attributes to leave out.
    """
    tokens, known, stack = [], {}, [state]
    while stack:
        part = stack.pop()
        if isinstance(part, _PLAIN) and type(part) in _PLAIN:
            # The type keeps 1, 1.0 and True apart, the text 0.0 and -0.0; and nan equals itself.
            tokens.append((type(part), repr(part) if isinstance(part, (float, complex)) else part))
        elif id(part) in known:
            tokens.append((Identity, known[id(part)][0]))
        else:
            known[id(part)] = len(known), part  # a part that was made here must not leave its id to the next one
            token, parts = _open(part, leave_out)
            tokens.append((*token, len(parts)))
            stack.extend(reversed(parts))
    return tuple(tokens)


def _open(part, leave_out):
    """Return a hashable token of an object, and the list of its parts."""
    cls = type(part)
    if isinstance(part, np.ndarray) and cls is np.ndarray and part.dtype != object:
        return (cls, part.dtype.str, part.shape, part.tobytes()), []
    if isinstance(part, (keras.Variable, keras.KerasTensor, *_UNCHANGING)) or ops.is_tensor(part):
        return (Identity(part),), []
    if isinstance(part, Identity):
        return (part,), []
    if isinstance(part, weakref.ref):
        return (cls, Identity(part())), []
    if isinstance(part, type):
        return (Identity(part),), _of_class(part)
    if isinstance(part, types.FunctionType):
        return (Identity(part),), _of_function(part)
    if hasattr(cls, "__func__"):  # methods and their kin
        return (cls,), [part.__func__, part.__self__ if cls is types.MethodType else None]
    if isinstance(part, property):
        return (cls,), [part.fget, part.fset, part.fdel]
    if isinstance(part, types.CellType):
        return (cls,), _of_cell(part)
    parts = [cls, *_contents(part)]
    if _is_python(cls) or isinstance(part, (dict, types.MappingProxyType, list, tuple, set, frozenset)):
        return (cls,), parts + _attributes(part, leave_out)
    try:  # as for pickle: a function and what it would be called with
        reduced = part.__reduce_ex__(4)
    except Exception:  # whatever pickle would meet
        return (Identity(object()),), []
    if isinstance(reduced, str):  # the name of a constant
        return (Identity(part),), []
    return (cls,), [cls, *(list(of) if hasattr(of, "__next__") else of for of in reduced)]


def _contents(part):
    if isinstance(part, (dict, types.MappingProxyType)):
        return [of for item in part.items() for of in item]
    return list(part) if isinstance(part, (list, tuple, set, frozenset)) else []


def _attributes(part, leave_out):
    """Return the names and values of an object's attributes in its ``__dict__`` and in its slots."""
    left_out = _OF_A_CALL if isinstance(part, keras.layers.Layer) else ()
    left_out = left_out | _training_attributes() if isinstance(part, keras.Model) else left_out
    found = getattr(part, "__dict__", {}).items()
    found = [*found, *((name, getattr(part, name)) for name in _slots(type(part)) if hasattr(part, name))]
    return [of for item in found if item[0] not in left_out and not leave_out(*item) for of in item]


def _of_class(cls):
    if cls.__flags__ & _IMMUTABLE_TYPE:
        return []
    # A class of the module abc keeps a cache in `_abc_impl`. Names such as __doc__ and __annotations__ compute nothing.
    of_class = [
        (name, value)
        for name, value in vars(cls).items()
        if name != "_abc_impl" and (not name.startswith("__") or isinstance(value, _FUNCTIONS))
    ]
    return [*cls.__bases__, *(of for item in of_class for of in item)]


def _of_function(function):
    in_module = function.__globals__
    read = [(name, in_module[name]) for name in _names(function.__code__) if name in in_module]
    return [
        function.__code__,
        function.__defaults__,
        function.__kwdefaults__,
        *(function.__closure__ or ()),
        *(of for name, value in read for of in (name, _of_module(value))),
    ]


def _of_module(value):
    # Functions and classes by parts would lead to those of all modules.
    return Identity(value) if callable(value) or isinstance(value, types.ModuleType) else value


def _of_cell(cell):
    try:
        return [cell.cell_contents]
    except ValueError:  # of a variable without a value
        return []


@functools.cache
def _names(code):
    """Return the names that a function's code, and the code of functions in it, looks up in its module."""
    inner = (_names(constant) for constant in code.co_consts if isinstance(constant, types.CodeType))
    return tuple(dict.fromkeys([*code.co_names, *(name for names in inner for name in names)]))


@functools.cache
def _training_attributes():
    return _OF_A_TRAINING | (vars(keras.Model()).keys() - vars(keras.layers.Layer()).keys())


@functools.cache
def _slots(cls):
    found = []
    for base in cls.__mro__:
        names = vars(base).get("__slots__", ())
        for name in [names] if isinstance(names, str) else names:
            private = name.startswith("__") and not name.endswith("__")
            found.append(f"_{base.__name__.lstrip('_')}{name}" if private else name)
    return tuple(name for name in found if name not in ("__dict__", "__weakref__"))


@functools.cache
def _is_python(cls):
    """Return whether the instances of a class hold nothing but attributes: no data of a class that is written in C."""
    pointer = tuple.__itemsize__
    own = len(_slots(cls)) + (cls.__dictoffset__ > 0) + (cls.__weakrefoffset__ > 0)
    return cls.__itemsize__ == 0 and cls.__basicsize__ <= object.__basicsize__ + pointer * own
