"""`eval` on a real flake: the real Nix, module and lib of nixpkgs."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from llmhop.config.parser import parse as parse_router_config
from llmhop.config.tls import load_certificate

from tests.generator.conftest import Command
from tests.generator.support.fleet_flake import HOSTS, write_flake
from tests.module.nix import needs_nix

pytestmark = needs_nix

BROKEN = HOSTS.replace(
    'off = host "off" { };',
    """
  off = host "off" { };
  throws = throw "no such thing";
  undefined = host "undefined" { services.llmhop.vllm.enable = true; };
  twice = host "twice" (vllm { inherit a; c = a; });
""",
)
FAILING = ["throws", "twice", "undefined"]
WITH_LLMHOP = ["gpu1", "gpu2.site"]
JOBS = "nix-eval-jobs"
INSTALLED = shutil.which(JOBS)


@pytest.fixture(scope="module")
def flake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_flake(tmp_path_factory.mktemp("flake"))


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_flake(tmp_path_factory.mktemp("broken"), BROKEN)


@pytest.fixture(autouse=True)
def without_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave nix-eval-jobs out of the path."""
    path = os.environ["PATH"].split(":")
    kept = [directory for directory in path if not (Path(directory) / JOBS).exists()]
    monkeypatch.setenv("PATH", ":".join(kept))


@pytest.fixture(params=["stand-in", *(["installed"] if INSTALLED else [])])
def jobs(
    request: pytest.FixtureRequest,
    without_jobs: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Put nix-eval-jobs first on the path: the stand-in, and also the real one where it is."""
    if request.param == "installed":
        directory = Path(str(INSTALLED)).parent
    else:
        directory = stand_in(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")


def stand_in(directory: Path) -> Path:
    directory.mkdir()
    script = Path(__file__).parents[1] / "support/nix_eval_jobs.py"
    program = directory / JOBS
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {script} "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    return directory


def lines(done: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    read = [json.loads(line) for line in done.stdout.splitlines()]
    return {host.pop("host"): host for host in read}


def test_each_host_is_a_line_with_its_contract(flake: Path, generator: Command) -> None:
    done = generator("eval", flake)

    found = lines(done)
    assert done.returncode == 0, done.stderr
    assert found["off"] == found["web"] == {"contract": None}
    assert found["gpu1"]["address"] == "gpu1.lan"
    assert found["gpu2.site"]["contract"]["vllm"]["models"]["b"]["port"] == 18002
    assert "nix-eval-jobs is not installed" in done.stderr


@pytest.mark.usefixtures("jobs")
def test_nix_eval_jobs_and_nix_eval_give_the_same(
    broken: Path, generator: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_jobs = lines(generator("eval", broken))
    monkeypatch.setenv("PATH", os.environ["PATH"].partition(":")[2])
    without = lines(generator("eval", broken))

    assert with_jobs.keys() == without.keys()
    for host in with_jobs.keys() - set(FAILING):
        assert with_jobs[host] == without[host]


@pytest.mark.usefixtures("jobs")
def test_a_host_that_fails_leaves_the_others_and_makes_the_exit_code_1(
    broken: Path, generator: Command, tmp_path: Path
) -> None:
    done = generator("eval", broken)

    found = lines(done)
    assert done.returncode == 1
    assert sorted(host for host in found if "error" in found[host]) == FAILING
    assert "throws failed: no such thing" in done.stderr
    assert "18001 is the port of services.llmhop.vllm.models.a too" in found["twice"]["error"]
    assert "services.llmhop.vllm." in found["undefined"]["error"]
    assert "twice failed: services.llmhop.vllm.models.c.port: 18001 is" in done.stderr
    assert all(found[host]["contract"]["version"] == 1 for host in WITH_LLMHOP)


def test_hosts_without_a_result_are_named_when_a_worker_dies(
    flake: Path, generator: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{stand_in(tmp_path / 'bin')}:{os.environ['PATH']}")
    monkeypatch.setenv("LLMHOP_TEST_DIES_AT", "off")

    done = generator("eval", flake)

    found = lines(done)
    assert done.returncode == 1
    assert sorted(host for host in found if "error" in found[host]) == ["off", "web"]
    assert "ended with exit code 1 before" in found["web"]["error"]
    assert "killed by SIGKILL" in done.stderr


def test_each_file_is_a_configuration_that_the_other_commands_read(
    broken: Path, generator: Command, tmp_path: Path
) -> None:
    (tmp_path / "twice.json").write_text("what an earlier run wrote", encoding="utf-8")

    done = generator("eval", broken, "--output", tmp_path)

    assert done.returncode == 1
    assert done.stdout == ""
    assert sorted(path.stem for path in tmp_path.iterdir()) == WITH_LLMHOP
    for host in WITH_LLMHOP:
        assert generator("validate", tmp_path / f"{host}.json").returncode == 0


@pytest.mark.usefixtures("jobs")
def test_the_report_names_models_replicas_and_what_failed(broken: Path, generator: Command) -> None:
    done = generator("eval", broken, "--report")

    assert done.returncode == 1
    assert [line.split()[:3] for line in done.stdout.splitlines()[1:4]] == [
        ["gpu1", "a", "18001"],
        ["gpu2.site", "a", "18001"],
        ["gpu2.site", "b", "18002"],
    ]
    assert "  a: gpu1, gpu2.site\n" in done.stdout
    assert "  throws: no such thing" in done.stdout


def test_the_front_has_a_url_for_each_host_that_serves_a_model(
    flake: Path, generator: Command
) -> None:
    done = generator("eval", flake, "--front", "--address", "gpu1=http://10.0.0.1:80")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "models": {
            "a": {"urls": ["http://10.0.0.1:80/route/a", "http://gpu2.lan:8080/route/a"]},
            "b": {"url": "http://gpu2.lan:8080/route/b"},
        }
    }
    parsed = parse_router_config(
        json.loads(done.stdout),
        lambda _: "secret",
        lambda cert, key: load_certificate(cert, key, {}),
    )
    assert len(parsed.models["a"].urls) == 2


@pytest.mark.usefixtures("jobs")
def test_no_front_is_printed_that_lacks_a_host(broken: Path, generator: Command) -> None:
    done = generator("eval", broken, "--front")

    assert (done.returncode, done.stdout) == (1, "")
    assert f"hosts that failed: {', '.join(FAILING)}" in done.stderr


def test_a_revision_is_compared_with_what_is_there_now(
    flake: Path, generator: Command, tmp_path: Path
) -> None:
    repository = tmp_path / "repository"
    who = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    git = ["git", *who, "-C", str(repository)]
    below = write_flake(repository / "machines")
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "one"]):
        subprocess.run([*git, *command], check=True)
    changed = HOSTS.replace("port = 18002", "port = 18003").replace('off = host "off" { };', "")
    (below / "hosts.nix").write_text(changed, encoding="utf-8")

    done = generator("eval", below, "--compare", "HEAD")

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "gpu2.site:",
        "  services.llmhop.vllm.models.b.port: 18002 -> 18003",
    ]


def test_an_unknown_revision_is_an_error_with_what_git_says(
    flake: Path, generator: Command
) -> None:
    done = generator("eval", flake, "--compare", "HEAD")

    assert (done.returncode, done.stdout) == (1, "")
    assert "error: `git " in done.stderr


def test_a_flake_without_hosts_is_an_error_with_what_nix_says(
    generator: Command, tmp_path: Path
) -> None:
    (tmp_path / "flake.nix").write_text("{ outputs = _: { }; }", encoding="utf-8")

    done = generator("eval", tmp_path)

    assert (done.returncode, done.stdout) == (1, "")
    assert "does not provide attribute" in done.stderr
    assert f"the hosts of {tmp_path} can't be listed" in done.stderr
