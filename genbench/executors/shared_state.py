"""What cells of one process share, and a family may change for those that come after it.

Cells that run in processes of their own share nothing; `inline` compares this before and after
each cell, restores what it can and names what had changed.
"""

import os
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn.modules import module as _modules

__all__ = ["SharedState"]

_FLAGS = {
    "mkldnn's flags": (torch.backends.mkldnn, ("enabled", "deterministic", "allow_tf32")),
    "cuDNN's flags": (
        torch.backends.cudnn,
        ("enabled", "benchmark", "deterministic", "allow_tf32"),
    ),
    "CUDA's matrix products": (torch.backends.cuda.matmul, ("allow_tf32",)),
}
_PATCHED = {
    "torch": torch,
    "torch.Tensor": torch.Tensor,
    "torch.linalg": torch.linalg,
    "torch.nn.Module": torch.nn.Module,
    "torch.nn.functional": torch.nn.functional,
    "torch.nn.init": torch.nn.init,
    "numpy": np,
}
_HOOKS = [value for name, value in vars(_modules).items() if name.startswith("_global_")]
_HOOKS = [value for value in _HOOKS if isinstance(value, dict)]


def _set_torch_random(state: list[int]) -> None:
    torch.set_rng_state(torch.tensor(state, dtype=torch.uint8))


def _numpy_random() -> dict[str, Any]:
    state = dict(np.random.get_state(legacy=False))  # noqa: NPY002
    inner: Any = state["state"]
    return {**state, "state": {**inner, "key": inner["key"].tolist()}}  # comparable


def _set_numpy_random(state: dict[str, Any]) -> None:
    np.random.set_state(state)  # noqa: NPY002


def _set_environment(variables: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(variables)


def _pop_functions(length: int) -> None:
    while torch._C._len_torch_function_stack() > length:
        torch._C._pop_torch_function_stack()


def _pop_dispatch(length: int) -> None:
    while torch._C._len_torch_dispatch_stack() > length:
        torch._C._pop_torch_dispatch_stack()


def _set_hooks(hooks: list[dict[int, Any]]) -> None:
    for there, before in zip(_HOOKS, hooks, strict=True):
        there.clear()
        there.update(before)


_Pair = tuple[Callable[[], Any], Callable[[Any], Any]]

# in the order in which they are restored: a default device is a function mode itself
_SETTINGS: dict[str, _Pair] = {
    "the default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "the default device": (torch.get_default_device, lambda _: torch.set_default_device(None)),
    "torch's function modes": (torch._C._len_torch_function_stack, _pop_functions),
    "torch's dispatch modes": (torch._C._len_torch_dispatch_stack, _pop_dispatch),
    "grad mode": (torch.is_grad_enabled, torch.set_grad_enabled),
    "autocast": (
        lambda: torch.is_autocast_enabled("cpu"),
        lambda on: torch.set_autocast_enabled("cpu", on),
    ),
    "anomaly detection": (torch.is_anomaly_enabled, torch.set_anomaly_enabled),
    "the precision of matrix products": (
        torch.get_float32_matmul_precision,
        torch.set_float32_matmul_precision,
    ),
    "deterministic algorithms": (
        torch.get_deterministic_debug_mode,
        torch.set_deterministic_debug_mode,
    ),
    "the number of threads": (torch.get_num_threads, torch.set_num_threads),
    "hooks of all modules": (lambda: [dict(hooks) for hooks in _HOOKS], _set_hooks),
    "NumPy's error handling": (np.geterr, lambda errors: np.seterr(**errors)),
    "environment variables": (lambda: dict(os.environ), _set_environment),
    "the working folder": (os.getcwd, os.chdir),
}

# every draw changes these, also one of a network that is about to load its weights
_RANDOM: dict[str, _Pair] = {
    "torch": (lambda: torch.get_rng_state().tolist(), _set_torch_random),
    "numpy": (_numpy_random, _set_numpy_random),
    "random": (random.getstate, random.setstate),
}


class SharedState:
    """The state of this process when the object is made."""

    def __init__(self) -> None:
        self._settings = {name: read() for name, (read, _) in _SETTINGS.items()}
        self._random = {name: read() for name, (read, _) in _RANDOM.items()}
        self._flags = {
            name: {flag: getattr(owner, flag) for flag in flags if hasattr(owner, flag)}
            for name, (owner, flags) in _FLAGS.items()
        }
        self._functions = {
            name: {key: value for key, value in vars(owner).items() if callable(value)}
            for name, owner in _PATCHED.items()
        }

    def restore(self) -> list[str]:
        """Put back what has changed since; returns what it was, but for random generators."""
        changed = []
        for name, (read, write) in _SETTINGS.items():
            if read() != self._settings[name]:
                changed.append(name)
                write(self._settings[name])
        for name, (_, write) in _RANDOM.items():
            write(self._random[name])
        for name, (owner, _) in _FLAGS.items():
            before = self._flags[name]
            wrong = [flag for flag in before if getattr(owner, flag) != before[flag]]
            for flag in wrong:
                setattr(owner, flag, before[flag])
            changed += [name] if wrong else []
        for name, owner in _PATCHED.items():
            changed += [f"{name}.{key}" for key in _unpatch(owner, self._functions[name])]
        return changed


def _unpatch(owner: Any, before: dict[str, Any]) -> list[str]:
    """Put back the functions of a module or class; returns the names of those that differed."""
    now = vars(owner)
    other = [key for key, value in before.items() if now.get(key) is not value]
    for key in other:
        setattr(owner, key, before[key])
    # a method that a class inherits is replaced by one of its own; modules gain names by imports
    added = [key for key in now if callable(now[key]) and key not in before]
    added = added if isinstance(owner, type) else []
    for key in added:
        delattr(owner, key)
    return other + added
