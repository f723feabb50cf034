"""Configurations that cannot work are refused before anything is built."""

import pytest

from tests.module.nix import (
    EXAMPLES,
    NixError,
    Refused,
    V,
    assert_one_message,
    evaluate,
    model,
    needs_nix,
    settings,
    vllm,
)

pytestmark = needs_nix

DIGEST = f'digest = "sha256:{"ab" * 32}";'


REFUSED = {
    "two models of one name": Refused(
        [vllm(models=model("a", 18001) + model("b", 18002, 'name = "a";'))],
        [f"{V}.models.a.name", f"{V}.models.b.name", "`a`"],
    ),
    "no Podman": Refused(
        [vllm(), "{ lib, ... }: { virtualisation.podman.enable = lib.mkForce false; }"],
        ["virtualisation.podman.enable is false"],
    ),
    "a model's tag and digest": Refused(
        [vllm(models=model("a", 18001, 'tag = "v1"; digest = "sha256:ab";'))],
        [f"{V}.models.a.tag", f"{V}.models.a.digest", "v1", "sha256:ab"],
    ),
    "a model served here and elsewhere": Refused(
        [vllm(), settings('models.a.url = "https://example.org";')],
        [f"{V}.models.a.name", "services.llmhop.settings.models"],
    ),
    "a model served here and in several places": Refused(
        [vllm(), settings('models.a.urls = [ "https://example.org" ];')],
        [f"{V}.models.a.name", "services.llmhop.settings.models"],
    ),
    "no model": Refused([vllm(models="")], [f"{V}.models", "services.llmhop.settings.models"]),
    "no enabled model": Refused(
        [vllm(models=model("a", 18001, "enable = false;"))], [f"{V}.models has no enabled model"]
    ),
    "a router without models": Refused(
        ["{ services.llmhop.enable = true; }"], ["services.llmhop.settings.models"]
    ),
    "remote models and no router": Refused(
        [
            vllm(models=""),
            settings('models.b.url = "https://example.org";'),
            "{ services.llmhop.enable = false; }",
        ],
        [f"{V}.models has no enabled model"],
    ),
    "a user that nobody declares": Refused(
        [vllm('user = "ai";')], [f"{V}.user is `ai`", "users.users.ai", "users.groups.ai"]
    ),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED.keys())
def test_a_configuration_that_cannot_work_gives_one_message_that_names_the_option(
    case: Refused,
) -> None:
    assert_one_message(case)


ALLOWED = {
    "a disabled model of a taken name": [
        vllm(models=model("a", 18001) + model("b", 18002, 'name = "a"; enable = false;'))
    ],
    "a listen address that the router will refuse": [vllm(), settings('listen = "nonsense";')],
    "a tag on one model and a digest on another": [
        vllm(models=model("a", 18001, 'tag = "v1";') + model("b", 18002, 'digest = "sha256:ab";'))
    ],
    "tag and digest on a disabled model": [
        vllm(models=model("a", 18001) + model("b", 18002, f'enable = false; tag = "v1"; {DIGEST}'))
    ],
    "no tag, where every enabled model has an image of its own": [
        vllm(
            models=model("a", 18001, DIGEST)
            + model("b", 18002, 'tag = "v1";')
            + model("c", 18003, "enable = false;")
        ).replace('tag = "v0.11.0";', "")
    ],
    "a remote model of the same name without llmhop": [
        vllm(),
        settings('models.a.url = "https://example.org";'),
        "{ services.llmhop.enable = false; }",
    ],
    "headers for a model that is served here": [vllm(), settings('models.a.headers.X = "y";')],
    "a url of null, which is none, for a model that is served here": [
        vllm(),
        settings('models.a = { url = null; urls = null; headers.X = "y"; };'),
    ],
    "only remote models": [vllm(models=""), settings('models.b.url = "https://example.org";')],
    "nothing enabled": ["{ }"],
}


@pytest.mark.parametrize("modules", ALLOWED.values(), ids=ALLOWED.keys())
def test_a_configuration_that_can_work_is_not_refused(modules: list[str]) -> None:
    assert evaluate("failures", *modules) == []
    assert evaluate("warnings", *modules) == []


def test_every_problem_is_reported_at_once() -> None:
    module = vllm(
        "gid = 0; subGidStart = 999;",
        model("a", 8080, 'tag = "v1"; digest = "sha256:ab";') + model("b", 8080),
    )

    assert len(evaluate("failures", module)) == 4


@pytest.mark.parametrize("name", [path.name for path in sorted(EXAMPLES.glob("*.nix"))])
def test_the_examples_are_accepted_without_a_warning(name: str) -> None:
    assert evaluate("failures", EXAMPLES / name) == []
    assert evaluate("warnings", EXAMPLES / name) == []


def test_a_configuration_without_the_tag_that_a_model_needs_names_it() -> None:
    without = vllm(models=model("a", 18001, DIGEST) + model("b", 18002))
    with pytest.raises(NixError, match=r"option .services\.llmhop\.vllm\.tag' was accessed"):
        evaluate("contract", without.replace('tag = "v0.11.0";', ""))


def test_a_token_in_plain_text_is_warned_of_without_being_shown() -> None:
    tokens = settings('authTokens = [ "hunter2" "\\${file:token}" ];')

    (warning,) = evaluate("warnings", vllm(), tokens)

    assert "services.llmhop.settings.authTokens" in warning
    assert "1 token(s)" in warning
    assert "hunter2" not in warning


PLAIN = ["hunter2", "pa$word", "a$$b", "sk-$TOKENx", "$"]
REFERENCES = ["\\${file:x}", "Bearer \\${env:TOKEN}", "$TOKEN", "a-$TOKEN-b", "\\${lower}", ""]


@pytest.mark.parametrize("text", PLAIN + REFERENCES)
def test_a_secret_is_told_from_a_reference_to_one(text: str) -> None:
    """In tokens and in the headers that hold logins."""
    warnings = evaluate(
        "warnings",
        vllm(),
        settings(f"""
          authTokens = [ "{text}" ];
          models.far = {{ url = "https://example.org"; headers.X-Api-Key = "{text}"; }};
        """),
    )

    named = [
        "services.llmhop.settings.authTokens holds 1 token(s)",
        "services.llmhop.settings.models.far.headers.X-Api-Key",
    ]
    told = [name in warning for name, warning in zip(named, warnings, strict=False)]
    assert told == ([True, True] if text in PLAIN else [])
    assert len(warnings) == len(told)
    assert not any(text in warning for warning in warnings if len(text) > 1)


def test_headers_that_hold_no_login_are_not_warned_of() -> None:
    headers = 'headers = { X-Team = "a"; Accept-Language = "de"; }; url = "https://example.org";'
    names = ["Authorization", "Proxy-Authorization", "cookie", "api-key", "X-Auth-Token"]
    logins = " ".join(f'"{name}" = "x";' for name in names)

    assert evaluate("warnings", vllm(), settings(f"models.far = {{ {headers} }};")) == []
    told = evaluate("warnings", vllm(), settings(f"models.a.headers = {{ {logins} }};"))
    assert sorted(warning.split()[0].rpartition(".")[2] for warning in told) == sorted(names)
    assert evaluate("warnings", vllm(), settings("models.a.headers = null;")) == []


def test_a_nixpkgs_that_is_too_old_is_named() -> None:
    old = """((import <nixpkgs/lib>).extend (_: previous: {
      trivial = previous.trivial // { release = "25.05"; };
    }))"""
    (message,) = evaluate("failures", vllm(), lib=old)
    assert "nixpkgs 25.11 or newer" in message
    assert "25.05" in message
