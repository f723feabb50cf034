"""Podman's answers; what is no answer is not taken for one."""

import os
import pwd

import pytest
from llmhop_generator.errors import GeneratorError
from llmhop_generator.host import podman
from llmhop_generator.host.process import Account, Finished, account_of, run

ROOT = Account(0, 0)


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
    with pytest.raises(GeneratorError, match=f"localhost/a:v1.*{code}: Error: database is locked"):
        podman.has_image(ROOT, "localhost/a:v1")


def test_podman_is_told_whose_subordinate_ids_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "somebody-else")
    user, environment = pwd.getpwuid(os.getuid()), podman.environment_of(account_of(os.getuid()))
    said = run(["sh", "-c", "echo $USER $HOME"], env=environment).stdout
    assert said.split() == [user.pw_name, user.pw_dir]
