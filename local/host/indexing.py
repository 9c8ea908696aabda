"""The worker for Python below 3.13, for which Microsoft's worker library is not published.

Loads an app, checks every function's signature and calls it as that library does: what one of the
two refuses, the other refuses too (tests/local/host/test_app.py).
"""

from __future__ import annotations

import asyncio
import collections.abc
import importlib.util
import inspect
import json
import os
import re
import sys
import threading
import typing
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import azure.functions as func
from azure.functions.decorators.core import BindingDirection
from azure.functions.decorators.utils import StringifyEnumJsonEncoder
from azure.functions.meta import get_binding_registry

from local.engine.errors import FunctionFailed
from local.host.app import Indexed, LoadError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType

    from azure.functions.decorators.core import Binding
    from azure.functions.decorators.function_app import Function
    from azure.functions.meta import Datum

SCRIPT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*\.py")
REGISTRY = get_binding_registry()  # type: ignore[no-untyped-call]  # the SDK leaves it untyped
THREADS = "PYTHON_THREADPOOL_THREAD_COUNT"
RETURN = "$return"
RAW = "raw"  # no kind of the SDK's
# Spelt with `typing` these are no types to the platform; other generics of that module are.
UNTYPED = (typing.Union, typing.ClassVar, tuple, collections.abc.Callable)


@dataclass(frozen=True)
class Signature:
    """How a function is called. `inputs`: the converter of each parameter; `returns`: that of the
    response, None where the trigger has no response."""

    name: str
    call: Callable[..., Any]
    wants_context: bool
    inputs: Mapping[str, str]
    returns: str | None

    @property
    def is_async(self) -> bool:
        return inspect.iscoroutinefunction(self.call)


class Invocation(func.Context):
    """What a function that asks for `context` gets."""

    def __init__(self, signature: Signature) -> None:
        self._signature = signature
        self._id = str(uuid.uuid4())
        self._local = threading.local()
        self._local.invocation_id = self._id

    @property
    def invocation_id(self) -> str:
        return self._id

    @property
    def thread_local_storage(self) -> Any:
        return self._local

    @property
    def function_name(self) -> str:
        return self._signature.name

    @property
    def function_directory(self) -> str:
        return str(Path(inspect.getfile(self._signature.call)).parent)

    @property
    def trace_context(self) -> Any:
        return None

    @property
    def retry_context(self) -> Any:
        return None


class OwnRuntime:
    """`local.host.app.Runtime`. Sync functions run in threads, async ones on the calling loop."""

    def __init__(self) -> None:
        self._signatures: dict[str, Signature] = {}
        self._pool: ThreadPoolExecutor | None = None

    def index(self, path: Path) -> list[Indexed]:
        found = [self._indexed(function) for function in _functions(path)]
        if not found:
            raise LoadError(f"{path} has a function app without functions")
        return found

    def _indexed(self, function: Function) -> Indexed:
        signature = signature_of(function)
        identity = str(uuid.uuid5(uuid.NAMESPACE_OID, signature.name))
        self._signatures[identity] = signature
        bindings = [_plain(binding.get_dict_repr()) for binding in function.get_bindings()]
        retries = function.get_setting("retry_policy") is not None
        return Indexed(signature.name, identity, bindings, retries)

    def start(self) -> None:
        given = os.environ.get(THREADS, "")
        size = int(given) if given.isdecimal() and int(given) else None
        self._pool = ThreadPoolExecutor(size, thread_name_prefix="function")

    async def call(self, function: str, inputs: Mapping[str, Datum]) -> Datum | None:
        signature = self._signatures[function]
        try:
            return await self._call(signature, inputs)
        except Exception as error:
            raise FunctionFailed.of(error) from error

    async def _call(self, signature: Signature, inputs: Mapping[str, Datum]) -> Datum | None:
        arguments = {
            name: _converter(signature.inputs[name]).decode(value, trigger_metadata={})
            for name, value in inputs.items()
        }
        if signature.wants_context:
            arguments["context"] = Invocation(signature)
        if signature.is_async:
            result = await signature.call(**arguments)
        else:
            result = await asyncio.get_running_loop().run_in_executor(
                self._pool, lambda: signature.call(**arguments)
            )
        return encode(signature, result)

    def stop(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)


def encode(signature: Signature, result: Any) -> Datum | None:
    """None for triggers without a response. Raises `TypeError` for what cannot be sent."""
    if signature.returns is None:
        if result is not None:
            raise TypeError(
                f"{signature.name} has no response binding but returned {type(result).__name__}"
            )
        return None
    try:
        datum: Datum = _converter(signature.returns).encode(result, expected_type=None)
    except NotImplementedError as error:
        raise TypeError(
            f"{signature.name} returned {type(result).__name__}, not an HttpResponse or str"
        ) from error
    return datum


# -- the app's file


def _functions(path: Path) -> list[Function]:
    if not SCRIPT.fullmatch(path.name):
        raise LoadError(f"{path}: a script's name has letters, digits, - and _ only")
    module = _import(path)
    apps = [
        name for name, value in vars(module).items() if isinstance(value, func.FunctionRegister)
    ]
    if len(apps) != 1:
        found = f"several: {', '.join(apps)}" if apps else "none"
        raise LoadError(f"{path} must define one function app at its top level, and has {found}")
    try:
        return list(getattr(module, apps[0]).get_functions())
    except Exception as error:
        raise LoadError(f"{path}: the app's functions cannot be listed: {error}") from error


def _import(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise LoadError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise LoadError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    return module


def _plain(binding: Mapping[str, Any]) -> dict[str, Any]:
    """Enums as their names, as function.json has them."""
    return dict(json.loads(json.dumps(binding, cls=StringifyEnumJsonEncoder)))


# -- the checks that keep an app from starting


def signature_of(function: Function) -> Signature:
    """Raises `LoadError` that names the function and what the platform would not take."""
    name, call = str(function.get_function_name()), function.get_user_function()
    try:
        hints = typing.get_type_hints(call)
    except Exception as error:
        raise LoadError(f"{name}: its annotations cannot be resolved: {error}") from error
    bindings = {str(binding.name): binding for binding in function.get_bindings()}
    returned = bindings.pop(RETURN, None)
    parameters = set(inspect.signature(call).parameters)
    wants_context = "context" in parameters and "context" not in bindings
    if wants_context:
        parameters.remove("context")
        _check_context(name, hints)
    _check_names(name, parameters, set(bindings))
    inputs = {each: _converter_name(name, bindings[each], hints) for each in parameters}
    return Signature(name, call, wants_context, inputs, _response(name, bindings, returned, hints))


def _check_context(name: str, hints: Mapping[str, Any]) -> None:
    hint = hints.get("context", func.Context)
    if not isinstance(hint, type) or hint.__name__ != "Context":
        raise LoadError(f"{name}: context is annotated {hint!r}; it is an azure.functions.Context")


def _check_names(name: str, parameters: set[str], bound: set[str]) -> None:
    """Parameters and bindings are matched by name."""
    if missing := bound - parameters:
        raise LoadError(f"{name}: has no parameter for its binding {', '.join(sorted(missing))}")
    if extra := parameters - bound:
        raise LoadError(f"{name}: no binding gives its parameter {', '.join(sorted(extra))}")


def _converter_name(name: str, binding: Binding, hints: Mapping[str, Any]) -> str:
    """Which of the SDK's converters makes the argument; strings and bytes are handed on raw."""
    if binding.direction != BindingDirection.IN.value:
        raise LoadError(f"{name}: {binding.name} is an output, which the local host does not do")
    kind = str(binding.type)
    if binding.name not in hints:
        return kind
    hint = hints[binding.name]
    where = f"{name}: the annotation of {binding.name} is {hint!r}"
    _check_plain(where, hint)
    if hint in (str, bytes) and not _implicit(kind):
        kind = RAW
    if not _fits(_converter(kind).check_input_type_annotation, hint):
        raise LoadError(f"{where}, which {binding.type} does not give")
    return kind


def _check_plain(where: str, hint: Any) -> None:
    origin = typing.get_origin(hint) or hint
    if getattr(origin, "__name__", "") == "Out":
        raise LoadError(f"{where}, which only an output may have")
    if type(hint).__module__ == "typing" and origin not in UNTYPED:
        return
    if not isinstance(hint, type) or typing.get_origin(hint) is not None:
        plain = f": write {origin.__name__}" if isinstance(origin, type) else ""
        raise LoadError(f"{where}, which is no plain type{plain}")


def _fits(check: Callable[[Any], bool], hint: Any) -> bool:
    """The converters look for a base class, and so cannot look at a generic."""
    try:
        return check(hint)
    except TypeError:
        return False


def _response(
    name: str, bindings: Mapping[str, Binding], returned: Binding | None, hints: Mapping[str, Any]
) -> str | None:
    """The converter of what is returned."""
    if returned is None:
        kinds = [str(binding.type) for binding in bindings.values()]
        return next((kind for kind in reversed(kinds) if _implicit(kind)), None)
    kind = str(returned.type)
    if "return" in hints:
        hint = hints["return"]
        if not isinstance(hint, type) or typing.get_origin(hint) is not None:
            raise LoadError(f"{name}: the annotation of its result is {hint!r}, no plain type")
        if not _fits(_converter(kind).check_output_type_annotation, hint):
            raise LoadError(f"{name}: the annotation of its result is {hint!r}, no {kind} response")
    return kind


def _implicit(kind: str) -> bool:
    """Whether what such a trigger's function returns is its response, without a binding."""
    return bool(getattr(_converter(kind), "has_implicit_output", lambda: False)())


class Raw:
    """The converter of parameters that are annotated as text or bytes: what came, as it came."""

    @staticmethod
    def check_input_type_annotation(hint: type) -> bool:
        return issubclass(hint, (str, bytes))

    @staticmethod
    def decode(value: Datum, *, trigger_metadata: Mapping[str, Any]) -> Any:  # noqa: ARG004 - a converter's form
        if value.type not in {"string", "bytes", "json", None}:
            raise ValueError(f"{value.type} data cannot be handed on as text or bytes")
        return value.value


def _converter(kind: str) -> Any:
    return REGISTRY.get(kind) or Raw
