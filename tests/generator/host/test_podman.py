"""Podman's answers; what is no answer is not taken for one."""

import os
import pwd
from collections.abc import Callable
from pathlib import Path

import pytest
from llmhop_generator.errors import GeneratorError
from llmhop_generator.host import podman
from llmhop_generator.host.process import Account, Finished, account_of, run

ROOT = Account(0, 0)
OWN = account_of(os.getuid())


def answer(monkeypatch: pytest.MonkeyPatch, code: int, stderr: str = "") -> None:
    monkeypatch.setattr(podman, "run", lambda *_, **__: Finished(code, "", stderr))


@pytest.mark.parametrize(("code", "there"), [(0, True), (1, False)])
def test_an_image_is_in_a_storage_or_not(
    code: int, there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, code)
    assert podman.has_image(ROOT, "localhost/a:v1") is there


@pytest.mark.parametrize("code", [125, 126, 127, -9])
def test_a_storage_that_can_not_be_asked_is_told(
    code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, code, "Error: database is locked\n")
    with pytest.raises(GeneratorError, match=f"user 0 .*{code}.: Error: database is locked"):
        podman.has_image(ROOT, "localhost/a:v1")


BROKEN = (
    'time="2026-11-28T06:56:12Z" level=warning msg="Failed to read /etc/containers/storage.conf"\n'
    "Failed to obtain podman configuration: toml: line 1: expected value but found '='\n"
)
"""What Podman 5.4.2 prints of whatever it is asked, with exit code 1."""


def podman_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    path = tmp_path / "podman"
    path.write_text(f"#!/bin/sh\n{script}")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")


QUESTIONS: list[Callable[[Account], object]] = [
    lambda account: podman.has_image(account, "localhost/a:v1"),
    podman.images,
    podman.containers,
]


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_podman_that_is_broken_for_its_user_gives_no_answer(
    question: Callable[[Account], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "said").write_text(BROKEN)
    podman_script(tmp_path, monkeypatch, f"cat {tmp_path}/said >&2; exit 1\n")
    with pytest.raises(GeneratorError, match="Failed to obtain podman configuration: toml"):
        question(OWN)
    podman_script(tmp_path, monkeypatch, "echo '{'; exit 0\n")
    if question is not QUESTIONS[0]:
        with pytest.raises(GeneratorError, match="can't be asked"):
            question(OWN)


def test_beside_a_warning_podman_answers_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warning = "echo 'level=warning msg=\"cgroups\"' >&2\n"
    podman_script(tmp_path, monkeypatch, f'{warning} case $1 in image) exit "$CODE" ;; esac')
    for code, there in (("0", True), ("1", False)):
        monkeypatch.setenv("CODE", code)
        assert podman.has_image(OWN, "localhost/a:v1") is there


def test_podman_is_told_whose_subordinate_ids_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "somebody-else")
    user, environment = pwd.getpwuid(os.getuid()), podman.environment_of(account_of(os.getuid()))
    said = run(["sh", "-c", "echo $USER $HOME"], env=environment).stdout
    assert said.split() == [user.pw_name, user.pw_dir]


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_podman_that_has_lost_its_containers_is_known(
    question: Callable[[Account], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    podman_script(tmp_path, monkeypatch, "echo could not find any running process >&2; exit 1\n")
    with pytest.raises(podman.LostContainersError, match=r"systemctl start user@[0-9]+\.service"):
        question(OWN)
