"""What Podman takes of volumes, tmpfs, mounts and devices, as it makes a container.

Sources: Podman 5.4, pkg/specgen/volumes.go, pkg/specgenutil/volumes.go, pkg/util/mount_opts.go;
ValidateVolumeOpts and Device of containers/common, pkg/parse. Options of Podman 6 are taken too.
"""

import re
from collections.abc import Iterable

# Of each of these at most one is taken.
_ALTERNATIVES = (
    {"noexec", "exec"},
    {"nodev", "dev"},
    {"nosuid", "suid"},
    {"rw", "ro"},
    {"private", "rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable"},
    {"copy", "nocopy"},
    {"U"},
    {"z", "Z", "O"},
    {"bind", "rbind"},
)
_OF_BOTH = {*(option for group in _ALTERNATIVES for option in group), "no-dereference", "nocreate"}
_OF_VOLUMES = _OF_BOTH | {"cached", "delegated"}
_OF_TMPFS = (_OF_BOTH - {"z", "Z", "bind", "rbind"}) | {
    *("consistency", "mode", "notmpcopyup", "size", "tmpcopyup", "volume-opt"),
}
_VOLUME_NAME = re.compile("[A-Za-z0-9][A-Za-z0-9_.-]*")

_SOURCES = {"src", "source"}
TARGETS = {"target", "dst", "dest", "destination"}
"""How the target of a mount may be called."""
# Types, and whether Podman's generator breaks off at one without a source (Podman 5.4,
# handleStorageSource in pkg/systemd/quadlet/quadlet.go): then no unit of the user is made.
_MOUNTS = {
    **dict.fromkeys(("artifact", "bind", "glob", "image", "volume"), True),
    **dict.fromkeys(("devpts", "ramfs", "tmpfs"), False),
}
_OF_MOUNTS = (_OF_BOTH | _SOURCES | TARGETS) | {
    *("bind-nonrecursive", "bind-propagation", "chown", "consistency", "digest", "gid", "idmap"),
    *("max", "mode", "name", "newinstance", "noswap", "notmpcopyup", "ptmxmode", "readonly"),
    *("readwrite", "relabel", "subpath", "title", "tmpcopyup", "tmpfs-mode", "tmpfs-size", "uid"),
    *("volume-opt", "volume-subpath"),
}


def is_volume(text: str) -> bool:
    """Whether a volume is taken: SOURCE:TARGET[:OPTIONS], or a target alone."""
    source, *rest = text.split(":")
    if not rest:
        return source.startswith("/")
    # Podman's generator takes `./` for the directory of the unit.
    named = source.startswith(("/", ".")) or _VOLUME_NAME.fullmatch(source) is not None
    target, *options = rest
    return (
        named
        and target.startswith("/")
        and len(options) < 2
        and all(_are_options(each.split(","), _OF_VOLUMES, ("idmap",)) for each in options)
    )


def is_tmpfs(text: str) -> bool:
    """Whether a tmpfs is taken: TARGET[:OPTIONS]; what stands after a second colon is not read."""
    target, *options = text.split(":")
    return target.startswith("/") and all(
        _are_options(
            [option.partition("=")[0] for option in each.split(",")],
            _OF_TMPFS,
            ("idmap", "subpath"),
        )
        for each in options[:1]
    )


def _are_options(options: list[str], known: Iterable[str], prefixes: tuple[str, ...]) -> bool:
    plain = [
        each
        for each in options
        if not each.startswith(prefixes) and "upperdir" not in each and "workdir" not in each
    ]
    return {*plain} <= {*known} and all(
        sum(each in group for each in plain) < 2 for group in _ALTERNATIVES
    )


def is_mount(text: str) -> bool:
    """Whether a mount is taken: type=TYPE,source=SOURCE,target=TARGET and options."""
    if '"' in text:
        return True  # fields may be quoted
    fields = [each.partition("=") for each in text.split(",")]
    kinds = [value for name, _, value in fields if name == "type"]
    if not kinds or kinds[0] not in _MOUNTS:
        return False
    options = {name: value for name, _, value in fields if name != "type"}
    target = next((options[name] for name in TARGETS & options.keys()), "")
    has_source = any(options.get(name) for name in _SOURCES)
    return (
        options.keys() <= _OF_MOUNTS
        and (has_source or not _MOUNTS[kinds[0]])
        and (target.startswith("/") or (kinds[0] == "glob" and target == ""))
    )


DEVICE = "give a name of CDI, or PATH, PATH:PATH or PATH:PATH:ACCESS, with rwm or less as ACCESS"
"""What is_device takes."""


def is_device(text: str) -> bool:
    """Whether a device is taken: PATH[:PATH][:ACCESS], or a name of CDI."""
    source, *rest = text.removeprefix("-").split(":")
    if "=" in source:
        return True
    *inside, last = rest or [""]
    return (
        source != ""
        and len(inside) < 2
        and all(each.startswith("/") for each in inside)
        and (_is_access(last) or (not inside and (last == "" or last.startswith("/"))))
    )


def _is_access(text: str) -> bool:
    return text != "" and {*text} <= {*"rwm"} and len({*text}) == len(text)
