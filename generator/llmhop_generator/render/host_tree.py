"""What the NixOS module declares and a plain systemd host needs as files."""

from typing import Final

from llmhop_generator.contract.options import Config, Vllm
from llmhop_generator.layout import (
    DEVICE_SERVICES,
    HEADER,
    HOST,
    MODELS_TARGET,
    ROUTER_USER,
    ROUTES_UNIT,
    STATE_DIR,
    quadlet_dir,
    user_manager,
)
from llmhop_generator.render.mounts import mount_lines
from llmhop_generator.render.quadlet import unit_file, unit_line
from llmhop_generator.render.router_units import router_units, routes_unit

OWN_USER = "vllm"
"""The one user that is declared here; any other name is the deployer's to declare."""


def host_files(config: Config, llmhop: str, generator: str = "llmhop-generator") -> dict[str, str]:
    """Render the files of a host that is not NixOS: paths below /etc and their text.

    `llmhop` is the router's command and `generator` this one, each as a path or as a name that
    systemd looks up in its own search path.
    """
    files = {
        "sysusers.d/llmhop.conf": _conf(_sysusers(config)),
        "tmpfiles.d/llmhop.conf": _conf(_tmpfiles(config)),
    }
    if config.llmhop.enable:
        files |= {f"systemd/system/{k}": v for k, v in router_units(config.llmhop, llmhop).items()}
    if isinstance(config.vllm, Vllm):
        drop_in = f"systemd/system/{user_manager(config.vllm.uid)}.d/llmhop.conf"
        files[drop_in] = _user_manager(config.vllm)
        files[f"systemd/user/{MODELS_TARGET}"] = _models_target()
        if config.llmhop.enable:
            files[f"systemd/system/{ROUTES_UNIT}"] = routes_unit(generator)
        files[_PODMAN["path"]] = _conf(_PODMAN["text"].splitlines())
    return files


_PODMAN: Final[dict[str, str]] = HOST["containers_conf"]


def subordinate_ids(config: Config) -> dict[str, str]:
    """The lines that /etc/subuid and /etc/subgid need, by the name of the file."""
    vllm = config.vllm
    if not isinstance(vllm, Vllm) or vllm.user != OWN_USER:
        return {}
    return {
        "subuid": f"{vllm.user}:{vllm.sub_uid_start}:{vllm.sub_uid_count}",
        "subgid": f"{vllm.user}:{vllm.sub_gid_start}:{vllm.sub_gid_count}",
    }


def _conf(lines: list[str]) -> str:
    return "\n".join([f"# {HEADER}", *lines]) + "\n"


def _quoted(value: str) -> str:
    """A word of sysusers.d or tmpfiles.d: C escapes, and `%` begins a specifier."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def _sysusers(config: Config) -> list[str]:
    lines = []
    vllm = config.vllm
    if isinstance(vllm, Vllm) and vllm.user == OWN_USER:
        lines = [
            f"g {vllm.group} {vllm.gid}",
            f'u {vllm.user} {vllm.uid}:{vllm.gid} "vLLM model servers" {_quoted(vllm.data_dir)}',
        ]
    if config.llmhop.enable:
        lines.append(f'u {ROUTER_USER} - "llmhop router" /')
    return lines


def _tmpfiles(config: Config) -> list[str]:
    lines = [f"d {STATE_DIR} 0755 root root -"]
    vllm = config.vllm
    if isinstance(vllm, Vllm):
        owner = f"{vllm.user} {vllm.group}"
        lines += [
            f"d {quadlet_dir(vllm.uid)} 0755 root root -",
            f"d {_quoted(vllm.data_dir)} 0700 {owner} -",
            f"d {_quoted(vllm.cache_dir)} 0750 {owner} -",
        ]
    return lines


def _models_target() -> str:
    return unit_file(
        HEADER,
        [
            ("Unit", [("Description", "Models of llmhop")]),
            ("Install", [("WantedBy", "default.target")]),
        ],
    )


def _user_manager(vllm: Vllm) -> str:
    return unit_file(
        HEADER,
        [
            (
                "Unit",
                [
                    # Podman's units wait for this target, and nothing else need start it.
                    ("Wants", "network-online.target"),
                    ("After", " ".join(DEVICE_SERVICES)),
                    *mount_lines(vllm),
                ],
            ),
            (
                "Service",
                [
                    # A user manager clamps its units to its own hard limit, without a word.
                    unit_line("LimitNOFILE", str(vllm.open_files_limit)),
                    ("Environment", f"CONTAINERS_CONF_OVERRIDE=/etc/{_PODMAN['path']}"),
                ],
            ),
        ],
    )
