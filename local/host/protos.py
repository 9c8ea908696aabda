"""The messages of FunctionRpc that the platform's worker library builds and reads.

Names and fields are those of FunctionRpc.proto; the library asks for nothing else of them, and no
gRPC is spoken in one process.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from types import SimpleNamespace
from typing import Any, ClassVar

KINDS = ("string", "json", "bytes", "http", "int", "double")


class TypedData:
    """One value of one kind."""

    def __init__(self, **value: Any) -> None:
        (self._kind,) = value
        if self._kind not in KINDS:
            raise TypeError(f"typed data is one of {', '.join(KINDS)}, not {self._kind}")
        self.value = value[self._kind]

    def WhichOneof(self, _: str) -> str:  # noqa: N802 - protobuf's name
        return self._kind

    def __getattr__(self, name: str) -> Any:
        if name == self._kind:
            return self.value
        raise AttributeError(name)


@dataclass
class RpcHttp:
    """A request, or a response."""

    method: str = ""
    url: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: TypedData | None = None
    params: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)
    status_code: str = ""
    cookies: list[RpcHttpCookie] | None = None
    enable_content_negotiation: bool = False


@dataclass
class Nullable:
    value: Any


@dataclass
class Timestamp:
    seconds: int


class SameSite(IntEnum):
    Lax = 1
    Strict = 2
    ExplicitNone = 3


# In the protocol it is called `None`, which is no name in Python.
setattr(SameSite, "None", 0)


@dataclass
class RpcHttpCookie:
    name: str
    value: str
    domain: Nullable | None = None
    path: Nullable | None = None
    expires: Nullable | None = None
    secure: Nullable | None = None
    http_only: Nullable | None = None
    same_site: int = 0
    max_age: Nullable | None = None

    SameSite: ClassVar[type[IntEnum]] = SameSite


@dataclass
class RpcException:
    message: str
    stack_trace: str = ""


@dataclass
class StatusResult:
    status: int
    exception: RpcException | None = None

    Failure: ClassVar[int] = 0
    Success: ClassVar[int] = 1


@dataclass
class BindingInfo:
    type: str
    data_type: Any
    direction: Any

    inout: ClassVar[int] = 2
    out: ClassVar[int] = 1
    undefined: ClassVar[int] = 0


@dataclass
class RpcFunctionMetadata:
    name: str
    function_id: str
    raw_bindings: list[str]
    retry_options: Any
    bindings: dict[str, BindingInfo]
    directory: str
    script_file: str
    entry_point: str
    language: str
    properties: dict[str, str]
    managed_dependency_enabled: bool
    is_proxy: bool


@dataclass
class ParameterBinding:
    name: str
    data: TypedData

    def WhichOneof(self, _: str) -> str:  # noqa: N802 - protobuf's name
        return "data"


@dataclass
class InvocationResponse:
    invocation_id: str
    result: StatusResult
    return_value: TypedData | None = None
    output_data: list[ParameterBinding] = field(default_factory=list)


@dataclass
class WorkerInitResponse:
    capabilities: dict[str, str]
    worker_metadata: Any
    result: StatusResult


@dataclass
class FunctionMetadataResponse:
    use_default_metadata_indexing: bool
    function_metadata_results: list[RpcFunctionMetadata] | None
    result: StatusResult


# What a host reads and this one does not.
WorkerMetadata = RpcRetryOptions = SimpleNamespace
NullableString = NullableBool = NullableDouble = NullableTimestamp = Nullable


def request(kind: str, properties: dict[str, Any] | None = None, **fields: Any) -> Any:
    """A message of the host's, as the library takes it."""
    message = SimpleNamespace(**{kind: SimpleNamespace(**fields)})
    return SimpleNamespace(request=message, properties=properties or {})


def invocation(identity: str, function: str, inputs: list[ParameterBinding]) -> Any:
    """A call that nobody traces and nobody retries."""
    return request(
        "invocation_request",
        invocation_id=identity,
        function_id=function,
        input_data=inputs,
        trigger_metadata={},
        trace_context=SimpleNamespace(trace_parent="", trace_state="", attributes={}),
        retry_context=SimpleNamespace(retry_count=0, max_retry_count=0, exception=None),
    )
