"""What has to hold on the host it stands on after `apply` was killed, and after the next run."""

import json
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from llmhop_generator.render.start_note import without_note

UNITS = Path("/etc/containers/systemd/users/503/llmhop")
ROUTES = Path("/var/lib/llmhop/llmhop.json")
AS_USER = "cd / && runuser -u vllm -- env HOME=/var/lib/vllm XDG_RUNTIME_DIR=/run/user/503"

Units = dict[str, str]


def run(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(words, capture_output=True, text=True, check=False)


def read(paths: Iterable[Path]) -> Units:
    """Read units without their notes, which depend on environment files too."""
    return {path.name: without_note(path.read_text()) for path in paths}


def rendered(config: str) -> Units:
    with tempfile.TemporaryDirectory() as output:
        assert run("llmhop-generator", "render", config, "-o", output).returncode == 0
        return read(Path(output, "quadlet").iterdir())


def present() -> Units:
    return read(UNITS.glob("*.container"))


def podman(words: str) -> str:
    return run("sh", "-c", f"{AS_USER} podman {words}").stdout


def containers() -> dict[str, str]:
    listed = podman("ps --no-trunc --format '{{.Names}} {{.ID}}'")
    return dict(line.split() for line in listed.splitlines())


@dataclass(frozen=True)
class Host:
    """The configurations between which `apply` is killed, and what they make.

    The model "steady" is in every configuration and keeps its container `steady` throughout;
    `environment` is the file that models read.
    """

    wanted: dict[str, Units]
    environment: Path
    steady: str

    def converge(self, config: str) -> None:
        """Run `apply` to its end; the host is then as the configuration says."""
        ended, wanted = run("llmhop-generator", "apply", config), self.wanted[config]
        assert ended.returncode == 0, ended
        assert present() == wanted
        running = containers()
        assert set(running) == {name.removesuffix(".container") for name in wanted}, running
        assert running["vllm-steady"] == self.steady
        for name, source in wanted.items():
            self.runs_by(name.removesuffix(".container"), source)
        with urlopen("http://127.0.0.1:8080/v1/models", timeout=10) as answer:
            routes = {model["id"] for model in json.load(answer)["data"]}
        assert routes == {name[5:-10] for name in wanted}, routes
        assert run("llmhop-generator", "diff", config).returncode == 0
        assert not list(Path("/etc/containers").glob(".llmhop*"))
        assert not list(ROUTES.parent.glob(".*")), "a temporary file was left"

    def runs_by(self, name: str, source: str) -> None:
        """A container was started by its unit, and by the environment file as it is now."""
        [found] = json.loads(podman(f"inspect {name}"))
        command, variables = found["Config"]["Cmd"], found["Config"]["Env"]
        assert command == source.partition("\nExec=")[2].partition("\n")[0].split(" "), command
        if "\nEnvironmentFile=" in source:
            assert self.environment.read_text().strip() in variables, variables

    def is_whole(self, before: Units, config: str) -> None:
        """What a kill leaves: each unit old or new, and a router configuration to serve by."""
        now, wanted = present(), self.wanted[config]
        assert now.keys() in (before.keys(), wanted.keys()), sorted(now)
        for name, text in now.items():
            assert text in (before.get(name), wanted.get(name)), name
        assert "steady" in json.loads(ROUTES.read_text())["models"]


def host_between(configs: list[str], environment: Path) -> Host:
    """Bring the host to the first of some configurations."""
    host = Host({config: rendered(config) for config in configs}, environment, "")
    assert run("llmhop-generator", "apply", configs[0]).returncode == 0
    return Host(host.wanted, environment, containers()["vllm-steady"])
