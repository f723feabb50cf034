"""One enabled model as one Quadlet source."""

import json
import re
from collections.abc import Collection, Iterator
from typing import Any

from llmhop_generator.contract import flags, unit_keys
from llmhop_generator.contract.images import vllm_version
from llmhop_generator.contract.keys.own import own_lines
from llmhop_generator.contract.options import Model, Vllm
from llmhop_generator.errors import option_path
from llmhop_generator.layout import HEADER, MODELS_TARGET
from llmhop_generator.render.provenance import Added, Command, Flag
from llmhop_generator.render.quadlet import Line, container_line, unit_file, unit_line
from llmhop_generator.render.start_note import with_note
from llmhop_generator.unit_names import container_of, service_of, source_file

CONTAINER_PORT = 8000

# A start may have to pull an image of 10 GB and a model of 100; both resume.
START_TIMEOUT_S = 3600
RESTART_DELAY_S = 10
# From the second failure on. A device may be there two minutes after the boot, and
# then the last of these starts is still to come.
LATER_RESTART_DELAY_S = 60
START_LIMIT_BURST = 5
# Wide enough for that many starts to fall into it, or the limit could never trip.
START_LIMIT_INTERVAL_S = (START_TIMEOUT_S + LATER_RESTART_DELAY_S) * START_LIMIT_BURST
STOP_TIMEOUT_S = 30
# Without --shutdown-timeout, SIGTERM aborts what is being generated; vLLM has that flag
# since 0.18 (vllm-project/vllm#34730). The engine needs some time to end after it. A little
# longer it can leave checks of health out of its access log (vllm-project/vllm#30011).
DEFAULTS_SINCE = (0, 18)
DRAIN_S = 20
DEFAULTS = {"shutdown-timeout": DRAIN_S, "disable-access-log-for-endpoints": "/health"}

# Keys that say by themselves which ids a container has; Podman takes no mapping beside them.
_OTHER_MAPPINGS = {"SubGIDMap", "SubUIDMap", "UserNS", "UIDMap", "GIDMap"}
_OTHER_MAPPINGS |= {"RemapGid", "RemapUid", "RemapUidSize", "RemapUsers"}
_OTHER_ARGUMENTS = re.compile(r"(^|\s)--(userns|uidmap|gidmap|subuidname|subgidname)\b")

# Every vLLM image has Python; not every one has curl. http.client, unlike urllib,
# is not diverted by a proxy in the environment.
_HEALTH_PROBE = (
    "import http.client as h; "
    f"c = h.HTTPConnection('127.0.0.1', {CONTAINER_PORT}, timeout=20); "
    "c.request('GET', '/health'); "
    "r = c.getresponse(); r.read(); "
    "raise SystemExit(r.status != 200)"
)


def file_name(model: Model) -> str:
    """The name of a model's Quadlet source."""
    return source_file(model.name)


def quadlet_files(vllm: Vllm) -> dict[str, str]:
    """Render the Quadlet source of each enabled model: file names and their text."""
    files = {}
    before: list[str] = []
    for model in vllm.enabled_models:
        files[file_name(model)] = _container_file(vllm, model, before)
        if vllm.startup_ordering:
            before.append(service_of(file_name(model)))
    return files


def image(vllm: Vllm, model: Model) -> str:
    """The image of a model: by its digest, else by its tag or the backend-wide one."""
    if model.digest is not None:
        return f"{vllm.image}@{model.digest}"
    return f"{vllm.image}:{model.tag or vllm.tag}"


def images_of(vllm: Vllm) -> dict[str, str]:
    """The images of the enabled models, by file name."""
    return {file_name(model): image(vllm, model) for model in vllm.enabled_models}


def command_line(vllm: Vllm, model: Model) -> list[str]:
    """The words after the image's name, for `vllm` as the entrypoint."""
    general = flags.inherited(general_settings(vllm, model), model.settings)
    return [
        "serve",
        model.model,
        "--host=0.0.0.0",
        f"--port={CONTAINER_PORT}",
        f"--served-model-name={model.name}",
        # What vLLM knows by two names is not known here; then the last of two wins.
        *flags.arguments(general),
        *flags.arguments(model.settings),
    ]


def serve_commands(vllm: Vllm) -> dict[str, Command]:
    """What vLLM's parser is to read of each enabled model, by file name.

    Without those for which a deployer starts something else.
    """
    return {
        file_name(model): _command(vllm, name, model)
        for name, model in vllm.models.items()
        if model.enable and "Entrypoint" not in {*vllm.container_config, *model.container_config}
    }


def _command(vllm: Vllm, name: str, model: Model) -> Command:
    general = flags.inherited(general_settings(vllm, model), model.settings)
    own = ("vllm", "models", name, "settings")
    # A default has its place in vLLM's flags to itself: what is set there replaces it.
    defaults = DEFAULTS.keys() - vllm.model_settings.keys()
    found = [
        *_flags(general, ("vllm", "modelSettings"), defaults),
        *_flags(model.settings, own),
    ]
    return Command(model.model, tuple(found), option_path(own))


def _flags(
    settings: flags.Flags, path: tuple[str, ...], defaults: Collection[str] = ()
) -> Iterator[Flag]:
    for key in sorted(settings):
        words = tuple(flags.arguments({key: settings[key]}))
        # The parser reads the file that `config` names, which an image alone does not have.
        if words and flags.canonical(key) != "config":
            yield Flag(key, option_path((*path, key)), words, key in defaults)


def general_settings(vllm: Vllm, model: Model) -> dict[str, Any]:
    """The backend-wide flags as they are for a model: with defaults where its vLLM knows them."""
    # What a digest stands for is not known.
    tag = (model.tag or vllm.tag) if model.digest is None else None
    version = vllm_version(vllm.image, tag) if tag is not None else None
    knows = version is not None and version >= DEFAULTS_SINCE
    return flags.merge(DEFAULTS if knows else {}, vllm.model_settings)


def stop_timeout_s(vllm: Vllm, model: Model) -> int:
    """How long a model has to end, its drain included."""
    settings = flags.merge(general_settings(vllm, model), model.settings)
    drain = flags.flag_value(settings, "shutdown-timeout")
    try:
        # As vLLM's parser reads it.
        seconds = int(drain or "")
    except ValueError:
        return STOP_TIMEOUT_S
    return max(STOP_TIMEOUT_S, seconds + STOP_TIMEOUT_S - DRAIN_S)


def added_keys(vllm: Vllm) -> dict[str, tuple[Added, ...]]:
    """What deployers add to [Unit] and [Service] of each enabled model's unit, by file name."""
    return {
        file_name(model): tuple(_added(vllm, name, model))
        for name, model in vllm.models.items()
        if model.enable
    }


def _added(vllm: Vllm, name: str, model: Model) -> Iterator[Added]:
    for option, general, own in (
        ("unitConfig", vllm.unit_config, model.unit_config),
        ("serviceConfig", vllm.service_config, model.service_config),
    ):
        values: dict[str, list[str]] = {}
        for key, value in unit_keys.lines(general, own):
            values.setdefault(key, []).append(value)
        for key, each in values.items():
            path = ("vllm", "models", name) if key in own else ("vllm",)
            yield Added(option_path((*path, option, key)), key, tuple(each))


def added_option(vllm: Vllm, file: str, key: str, section: str | None = None) -> str | None:
    """The option by which a deployer set a key of a source, or None; in any section if not told."""
    name = next(name for name, m in vllm.models.items() if m.enable and file_name(m) == file)
    for path, options in ((("vllm", "models", name), vllm.models[name]), (("vllm",), vllm)):
        for option, keys in (
            ("unitConfig", options.unit_config),
            ("containerConfig", options.container_config),
            ("serviceConfig", options.service_config),
        ):
            if key in keys and section in (None, unit_keys.SECTIONS[option]):
                return option_path((*path, option, key))
    return None


def naming_options(vllm: Vllm, file: str, word: str) -> list[str]:
    """The options by which a deployer set keys of [Container] to what has a word, of a source."""
    name = next(name for name, m in vllm.models.items() if m.enable and file_name(m) == file)
    own = vllm.models[name].container_config
    return [
        option_path((*path, "containerConfig", key))
        for path, keys in ((("vllm", "models", name), own), (("vllm",), vllm.container_config))
        for key, value in keys.items()
        if any(word in text for text in unit_keys.texts_of(value))
        and (keys is own or key not in own)
    ]


def _container_file(vllm: Vllm, model: Model, before: list[str]) -> str:
    unit = [unit_line("Description", f"vLLM model {model.name}")]
    if before:
        # All of them, not only the last: where that one has nothing to start, the
        # order among the others would be lost.
        unit.append(unit_line("After", " ".join(before)))
    unit += [
        ("StartLimitIntervalSec", str(START_LIMIT_INTERVAL_S)),
        ("StartLimitBurst", str(START_LIMIT_BURST)),
    ]
    stop_timeout = stop_timeout_s(vllm, model)
    service = [
        # Podman reports readiness from the process that then ends. systemd can tell
        # that the report is this unit's only while that process is its own child,
        # which it is where an earlier podman has made the user's namespace. Else, on
        # a busy host, the report is lost and the unit "starts" until its timeout.
        # Whether the container exists is of no matter.
        ("ExecStartPre", f"-/usr/bin/env podman container exists {container_of(model.name)}"),
        # vLLM exits with 0 when its engine dies.
        ("Restart", "always"),
        # Models that wait for this one go on waiting while it is tried again:
        # two that start at once on one GPU mis-size their caches.
        ("RestartMode", "direct"),
        *_restart_delays(vllm, model),
        ("TimeoutStartSec", str(START_TIMEOUT_S)),
        ("TimeoutStopSec", str(2 * stop_timeout)),
        ("LimitNOFILE", str(vllm.open_files_limit)),
    ]
    container = [
        *_image(vllm, model),
        *_sandbox(vllm, model),
        ("StopTimeout", str(stop_timeout)),
        *_input(vllm, model),
    ]
    source = unit_file(
        HEADER,
        [
            ("Unit", [*unit, *unit_keys.lines(vllm.unit_config, model.unit_config)]),
            (
                "Container",
                [*container, *unit_keys.lines(vllm.container_config, model.container_config)],
            ),
            ("Service", [*service, *unit_keys.lines(vllm.service_config, model.service_config)]),
            ("Install", [("WantedBy", MODELS_TARGET)]),
        ],
    )
    return with_note(source)


def _image(vllm: Vllm, model: Model) -> list[Line]:
    return [
        container_line("Image", image(vllm, model)),
        # A tag may have moved on; a digest can't.
        ("Pull", "missing" if model.digest is not None else "newer"),
        container_line("ContainerName", container_of(model.name)),
        # Images up to v0.11 start the API server's module, later ones `vllm serve`.
        container_line("Entrypoint", "vllm"),
        container_line("Exec", *command_line(vllm, model)),
    ]


def _sandbox(vllm: Vllm, model: Model) -> list[Line]:
    own = own_lines(container_of(model.name), vllm.cache_dir)
    return [
        container_line("PublishPort", f"127.0.0.1:{model.port}:{CONTAINER_PORT}"),
        *_id_mapping(vllm, model),
        ("NoNewPrivileges", "true"),
        *(("DropCapability", text) for text in own["DropCapability"]),
        *(("Tmpfs", text) for text in own["Tmpfs"]),
        container_line("ShmSize", model.shm_size),
        *_limits(vllm, model),
        *(container_line("Volume", text) for text in own["Volume"]),
        *(container_line("AddDevice", device) for device in model.devices),
        ("Notify", "healthy"),
        *_health_check(),
    ]


def _limits(vllm: Vllm, model: Model) -> list[Line]:
    """The limits of the service, not Podman's own default. Podman takes no others beside them."""
    given = unit_keys.texts_of((vllm.container_config | model.container_config).get("Ulimit", []))
    return [] if given else [("Ulimit", "host")]


def _id_mapping(vllm: Vllm, model: Model) -> list[Line]:
    """Which ids of the host a container has: root is the user, all others the range.

    Podman by itself takes all ranges of the user, the lowest first, so that which id
    another is would hang on what else /etc/subuid has. `@` is an id of the host
    (podman-run(1), --uidmap; containers/podman#18713).
    """
    keys = vllm.container_config | model.container_config
    arguments = keys.get("PodmanArgs")
    words = arguments if isinstance(arguments, list) else [arguments]
    if _OTHER_MAPPINGS & keys.keys() or _OTHER_ARGUMENTS.search(" ".join(map(str, words))):
        return []
    return [
        ("UIDMap", "0:0:1"),
        ("UIDMap", f"1:@{vllm.sub_uid_start}:{vllm.sub_uid_count}"),
        ("GIDMap", "0:0:1"),
        ("GIDMap", f"1:@{vllm.sub_gid_start}:{vllm.sub_gid_count}"),
    ]


def _restart_delays(vllm: Vllm, model: Model) -> list[Line]:
    lines = [("RestartSec", str(RESTART_DELAY_S))]
    if "RestartSec" in vllm.service_config | model.service_config:
        return lines  # all of them are to be the deployer's
    return [*lines, ("RestartSteps", "1"), ("RestartMaxDelaySec", str(LATER_RESTART_DELAY_S))]


def _health_check() -> list[Line]:
    """A check that waits for the first answer, then one that kills what hangs.

    A start period would do for the wait, but for its whole length it would also
    pass over an engine that hangs after it was healthy.
    """
    command = json.dumps(["python3", "-c", _HEALTH_PROBE])
    return [
        # TimeoutStartSec= bounds it.
        container_line("HealthStartupCmd", command),
        ("HealthStartupInterval", "5s"),
        ("HealthStartupTimeout", "30s"),
        container_line("HealthCmd", command),
        ("HealthInterval", "10s"),
        ("HealthTimeout", "30s"),
        ("HealthRetries", "5"),
        ("HealthOnFailure", "kill"),
    ]


def _input(vllm: Vllm, model: Model) -> list[Line]:
    environment = {**vllm.environment, **model.environment}
    return [
        *(container_line("Environment", f"{k}={v}") for k, v in sorted(environment.items())),
        *(
            container_line("EnvironmentFile", path)
            for path in (vllm.environment_file, model.environment_file)
            if path is not None
        ),
    ]
