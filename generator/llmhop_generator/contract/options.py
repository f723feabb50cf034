"""The contract: what the NixOS module writes and the generator reads.

These models are the one source of its names, types and defaults. The published
JSON Schema is made from them, and a test compares their defaults with the
module's. Checks that need more than one field are in `parse.rules`.
"""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    Tag,
    ValidationInfo,
    field_validator,
)
from pydantic.alias_generators import to_camel

from llmhop_generator.contract.json_types import Exactly, Whole
from llmhop_generator.contract.text import AbsolutePath, HomePath, Matching, Text, VolumePath
from llmhop_generator.contract.unit_keys import UnitKeys

SCHEMA_ID = "urn:llmhop:contract:1"
MAX_ID = 2**32 - 2
"""The highest user or group id that Linux gives; 2³²-1 stands for none."""

UserId = Annotated[int, Field(ge=0, le=MAX_ID), Whole]
IdCount = Annotated[int, Field(gt=0, le=MAX_ID), Whole]
Limit = Annotated[int, Field(ge=1), Whole]
Port = Annotated[int, Field(ge=0, le=65535), Whole]
ModelName = Annotated[
    str,
    Matching(
        r"[A-Za-z0-9][A-Za-z0-9.-]*", "letters, digits, dots and dashes; a letter or digit first"
    ),
    Field(max_length=200),
]
UserName = Annotated[
    str, Matching(r"[A-Za-z_][A-Za-z0-9_.-]{0,30}", "a user or group name such as vllm")
]
EnvironmentName = Annotated[
    str, Matching(r"[A-Za-z_][A-Za-z0-9_.-]*", "a variable name: letters, digits and underscores")
]
FlagName = Annotated[
    str,
    Matching(r"[A-Za-z0-9][A-Za-z0-9._+-]*", "a flag without its leading dashes: max-model-len"),
]
Size = Annotated[
    str, Matching(r"[0-9]+(\.[0-9]+)? ?([kmgtpKMGTP][iI]?)?[bB]?", "a size such as 32g or 512m")
]
Digest = Annotated[
    str,
    Matching(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}", "sha256: and 64 lower-case hex digits"),
]
# A registry and lower-case words (distribution/reference, which Podman reads names by).
_IMAGE_WORD = r"[a-z0-9]+((\.|__?|-+)[a-z0-9]+)*"
ImageName = Annotated[
    str,
    Matching(
        rf"([A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?/)?{_IMAGE_WORD}(/{_IMAGE_WORD})*",
        "an image in lower case, without tag or digest, such as docker.io/vllm/vllm-openai; they "
        "have options",
    ),
]
ImageTag = Annotated[
    str,
    # Podman takes a name that ends in .image or .build for another Quadlet file.
    Matching(r"(?!.*\.(image|build)$)[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", "a tag such as v0.11.0"),
]
SocketMode = Annotated[str, Matching(r"0?[0-7]{3}", "an access mode in octal such as 0660")]
Environment = dict[EnvironmentName, Text]
Flags = dict[FlagName, JsonValue]


def _check_model(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty; name a Hugging Face repository or a path in the container")
    if text == ";":
        raise ValueError("is a lone semicolon, which ends a command in systemd; name a model")
    if text.startswith("-"):
        raise ValueError(
            "begins with a dash, and vLLM would take it for a flag; write ./-… for a path"
        )
    return text


def _without_default(schema: dict[str, Any]) -> None:
    """Keep a default out of the schema where a validator gives what the field follows."""
    schema.pop("default", None)


class Options(BaseModel):
    """A set of options: spelled in camel case, with nothing unknown in it."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="forbid",
        frozen=True,
        strict=True,
        protected_namespaces=(),
        validate_by_name=False,
        validate_by_alias=True,
    )


class Model(Options):
    """One model to serve: one container, one unit, one routing key."""

    enable: bool = Field(True, description="Whether this model is served.")
    devices: list[Text] = Field(
        [],
        description="AddDevice= values of this model. Absent: the backend-wide `devices`.",
        json_schema_extra=_without_default,
    )
    digest: Digest | None = Field(
        None,
        description="Immutable image digest; in place of `tag`.",
        examples=["sha256:a73fb0b9…"],
    )
    environment: Environment = Field(
        {}, description="Variables that win over the backend-wide ones."
    )
    environment_file: AbsolutePath | None = Field(
        None,
        description="KEY=VALUE file, read by `user` after the backend-wide one when it starts.",
    )
    model: Annotated[Text, AfterValidator(_check_model)] = Field(
        description="Hugging Face repository or path in the container.",
        examples=["Qwen/Qwen2.5-7B-Instruct"],
    )
    name: ModelName = Field(
        "",
        description="Routing key, and the unit's name after vllm-. Absent: the key in `models`.",
        json_schema_extra=_without_default,
    )
    port: Port = Field(description="Port on 127.0.0.1 that leads to this model; unique.")
    settings: Flags = Field({}, description="Flags of vllm serve; they win over `modelSettings`.")
    shm_size: Size = Field(
        "32g",
        description="Size of /dev/shm at most, for the processes of one model; taken as it fills.",
        examples=["64g"],
    )
    tag: ImageTag | None = Field(None, description="Image tag of this model; excludes `digest`.")
    unit_config: UnitKeys = Field(
        {}, description="Keys for [Unit] of this model; they win over the backend-wide ones."
    )
    service_config: UnitKeys = Field(
        {}, description="Keys for [Service] of this model; they win over the backend-wide ones."
    )
    container_config: UnitKeys = Field(
        {}, description="Keys for [Container] of this model; they win over the backend-wide ones."
    )


class Vllm(Options):
    """The vLLM backend where it is enabled. Names and defaults are the documented options'."""

    enable: Annotated[Literal[True], Exactly]
    cache_dir: VolumePath = Field(
        "/var/cache/vllm", description="Host directory mounted as the Hugging Face cache."
    )
    data_dir: HomePath = Field(
        "/var/lib/vllm", description="Home of `user`, with Podman's storage below it."
    )
    devices: list[Text] = Field(
        [],
        description="AddDevice= values of every model: CDI names or paths. Empty: CPU only.",
    )
    environment: Environment = Field({}, description="Variables of every model's container.")
    environment_file: AbsolutePath | None = Field(
        None,
        description="KEY=VALUE file for every model, for secrets.",
        examples=["/etc/vllm/.env"],
    )
    uid: UserId = Field(
        description="Host UID of `user`, which root in a container is; fixed, and of nobody else.",
        examples=[503],
    )
    gid: UserId = Field(
        default_factory=lambda data: data.get("uid", 0),
        description="Host GID of `group`. Absent: `uid`.",
    )
    user: UserName = Field("vllm", description="System user that runs the containers.")
    group: UserName = Field(
        default_factory=lambda data: data.get("user", ""),
        description="Primary group of `user`. Absent: the user's name.",
    )
    image: ImageName = Field(
        "docker.io/vllm/vllm-openai", description="Container image, without tag or digest."
    )
    model_settings: Flags = Field({}, description="Flags of vllm serve for every model.")
    models: dict[str, Model] = Field(
        {}, description="The models by routing key, started by ascending port."
    )
    open_files_limit: Annotated[int, Field(gt=0, le=2**30), Whole] = Field(
        1048576, description="LimitNOFILE= of every unit; a client takes one."
    )
    startup_ordering: bool = Field(
        True, description="Start one model after the other, each when the one before is healthy."
    )
    sub_uid_start: UserId = Field(
        description="First host UID of the subordinate range.", examples=[300000]
    )
    sub_uid_count: IdCount = Field(65536, description="Length of the subordinate UID range.")
    sub_gid_start: UserId = Field(
        default_factory=lambda data: data.get("sub_uid_start", 0),
        description="First host GID of the subordinate range. Absent: `subUidStart`.",
    )
    sub_gid_count: IdCount = Field(
        default_factory=lambda data: data.get("sub_uid_count", 0),
        description="Length of the subordinate GID range. Absent: `subUidCount`.",
    )
    tag: ImageTag | None = Field(
        None,
        description="Image tag of models that set neither `tag` nor `digest`; required by them.",
        examples=["v0.11.0"],
    )
    unit_config: UnitKeys = Field(
        {}, description="Keys for [Unit] of every model, written after llmhop's own."
    )
    service_config: UnitKeys = Field(
        {}, description="Keys for [Service] of every model, written after llmhop's own."
    )
    container_config: UnitKeys = Field(
        {},
        description="Keys for [Container] of every model, written after llmhop's own.",
        examples=[{"GroupAdd": "keep-groups"}],
    )

    @field_validator("models", mode="before")
    @classmethod
    def _follow(cls, models: Any, info: ValidationInfo) -> Any:
        """Give each model the name and the devices that it follows where it sets none."""
        if not isinstance(models, dict):
            return models
        devices = info.data.get("devices", [])
        return {
            key: {"name": key, "devices": devices, **model} if isinstance(model, dict) else model
            for key, model in models.items()
        }

    @property
    def enabled_models(self) -> list[Model]:
        """The models to serve, by ascending port: the order in which they start."""
        return sorted((m for m in self.models.values() if m.enable), key=lambda m: m.port)


class Disabled(BaseModel):
    """A backend that is off: nothing else in it is looked at."""

    model_config = ConfigDict(
        extra="allow",
        frozen=True,
        strict=True,
        # As `parse.rules` has it: what is configured says whether it runs.
        json_schema_extra={"if": {"minProperties": 1}, "then": {"required": ["enable"]}},
    )

    enable: Annotated[Literal[False], Exactly] = Field(
        False, description="Whether models are served with vLLM."
    )


class Upstream(BaseModel):
    """A model of the router's own configuration. Keys not named here pass through."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    url: str | None = Field(None, description="Base URL of an OpenAI-compatible server.")
    headers: dict[str, str] | None = Field(
        None, description="Headers to set; secrets as ${env:NAME} or ${file:path}."
    )


class Client(BaseModel):
    """A client of the router that has a name. Keys not named here pass through."""

    model_config = ConfigDict(
        alias_generator=to_camel, extra="allow", frozen=True, strict=True, validate_by_alias=True
    )

    token: str | None = Field(
        None, description="Bearer token that the client sends; ${env:NAME} or ${file:path}."
    )
    tokens: list[str] | None = Field(None, description="Several of them, in place of token.")
    models: list[str] | None = Field(
        None, description="Models that the client may use. Absent: all."
    )
    paths: list[str] | None = Field(
        None, description="Control paths of engines that the client may use."
    )
    max_concurrent: Limit | None = Field(None, description="Most requests of the client at once.")
    requests_per_minute: Limit | None = Field(
        None, description="Most requests of the client in a minute."
    )
    tokens_per_minute: Limit | None = Field(
        None, description="Most tokens of the client in a minute."
    )


Listen = Annotated[
    Annotated[Text, Tag("one")] | Annotated[list[Text], Tag("several")],
    Discriminator(lambda listen: "several" if isinstance(listen, list) else "one"),
]


class RouterSettings(BaseModel):
    """Settings for llmhop. Keys not named here pass through for llmhop to judge."""

    model_config = ConfigDict(
        alias_generator=to_camel, extra="allow", frozen=True, strict=True, validate_by_alias=True
    )

    listen: Listen | None = Field(
        None, description="host:port, :port for every address, or unix:/path; or several of these."
    )
    host: str | None = Field(None, description="Address to listen on, beside `port`.")
    port: Port | None = Field(None, description="Port to listen on, beside `host`.")
    socket_mode: SocketMode | None = Field(
        None, description="Access mode of unix sockets, in octal.", examples=["0660"]
    )
    models: dict[str, Upstream] | None = Field(
        None, description="Models that run elsewhere, by routing key."
    )
    auth_tokens: list[str] | None = Field(
        None, description="Bearer tokens that clients must send one of."
    )
    clients: dict[str, Client] | None = Field(
        None, description="Clients that have tokens of their own, by name."
    )
    max_body_bytes: Annotated[int, Field(ge=0), Whole] | None = Field(
        None, description="Largest request body, in bytes; 0 for llmhop's default."
    )


class Llmhop(Options):
    """The router in front of the models."""

    enable: bool = Field(
        False,
        description="Whether llmhop runs. Absent: as vllm is enabled or not.",
        json_schema_extra=_without_default,
    )
    settings: RouterSettings = Field(default_factory=RouterSettings)


def _state(vllm: Any) -> str:
    enable = vllm.get("enable", False) if isinstance(vllm, dict) else None
    return "disabled" if enable is False else "enabled"


class Config(Options):
    """The whole contract."""

    model_config = ConfigDict(title="llmhop contract")

    version: Annotated[Literal[1], Exactly] = Field(description="Version of this format.")
    vllm: Annotated[
        Annotated[Vllm, Tag("enabled")] | Annotated[Disabled, Tag("disabled")],
        Discriminator(_state),
    ] = Field(default_factory=Disabled)
    llmhop: Llmhop = Field(default_factory=Llmhop, validate_default=True)

    @field_validator("llmhop", mode="before")
    @classmethod
    def _follow(cls, llmhop: Any, info: ValidationInfo) -> Any:
        """Enable the router with the backend where it is not set."""
        if isinstance(llmhop, Llmhop):
            llmhop = {}
        if not isinstance(llmhop, dict):
            return llmhop
        vllm = info.data.get("vllm")
        return {"enable": vllm is not None and vllm.enable, **llmhop}
