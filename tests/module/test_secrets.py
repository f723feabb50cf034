"""Secrets that would reach the Nix store are told by their option, in whatever form they come."""

import json

import pytest
from llmhop_generator.errors import GeneratorError
from llmhop_generator.layout import HOST
from llmhop_generator.parse.load import parse_config

from tests.module.nix import (
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

S = "services.llmhop.settings"
UNIT = "systemd.services.llmhop"
LLMHOP_OFF = "{ services.llmhop.enable = false; }"
STORED = "${builtins.storeDir}/00000000000000000000000000000000-secret"
FAR = 'models.far = {{ url = "https://example.org"; headers.{} = {}; }};'
TLS = 'tls = {{ certificate = "/c.pem"; key = {}; }};'


def one(option: str, value: str) -> list[str]:
    return [vllm(models=model("a", 18001, f"{option} = {value};"))]


def everywhere(option: str, value: str) -> list[list[str]]:
    return [[vllm(f"{option} = {value};")], one(option, value)]


# Refused by the build: files in the store, and plain text that a unit would show.
REFUSED = {
    "the key of a certificate": Refused(
        [vllm(), settings(TLS.format(f'"{STORED}"'))], [f"{S}.tls.key", "Nix store"]
    ),
    "the key of a certificate, as a derivation": Refused(
        [
            '{ pkgs, ... }: { services.llmhop.settings = { tls = { certificate = "/c.pem"; '
            'key = pkgs.writeText "key" "hidden"; }; }; }',
            vllm(),
        ],
        [f"{S}.tls.key"],
    ),
    "a file that a token refers to": Refused(
        [vllm(), settings(f'authTokens = [ "\\${{file:{STORED}}}" ];')],
        [f"{S}.authTokens", "Nix store"],
    ),
    "a file that a client's token refers to": Refused(
        [vllm(), settings(f'clients.x.token = "\\${{file:{STORED}}}";')],
        [f"{S}.clients.x.token", "Nix store"],
    ),
    "a file that one of a client's tokens refers to": Refused(
        [vllm(), settings(f'clients.x.tokens = [ "plain" "\\${{file:{STORED}}}" ];')],
        [f"{S}.clients.x.tokens", "Nix store"],
    ),
    "a file that a header refers to": Refused(
        [vllm(), settings(FAR.format("X", f'"a \\${{file:{STORED}}}"'))],
        [f"{S}.models.far.headers.X"],
    ),
    "a file in the place of a header": Refused(
        [vllm(), settings(FAR.format("Authorization", f'"{STORED}"'))],
        [f"{S}.models.far.headers.Authorization"],
    ),
    "a file that a token refers to while llmhop is off": Refused(
        [vllm(), settings(f'authTokens = [ "\\${{file:{STORED}}}" ];'), LLMHOP_OFF],
        [f"{S}.authTokens"],
    ),
    "a flag of every model": Refused(
        [vllm('modelSettings.hf_token = "hidden";')], [f"{V}.modelSettings", "hf_token"]
    ),
    "flags of a model": Refused(
        one("settings", '{ api-key = [ "hidden" ]; hf-token = "hidden"; }'),
        [f"{V}.models.a.settings", "api-key and hf-token"],
    ),
    "a model's environment file as a path": Refused(
        [f'{{ services.llmhop.vllm.models.a.environmentFile = /. + "{STORED}"; }}', vllm()],
        [f"{V}.models.a.environmentFile", "Nix store"],
    ),
}
for _leaf, _value, _names in (
    ("environmentFile", f'"{STORED}"', ["Nix store"]),
    ("environment.HF_TOKEN", '"hidden"', ["HF_TOKEN", "environmentFile"]),
    ("environment.AWS_SECRET_ACCESS_KEY", '"hidden"', ["AWS_SECRET_ACCESS_KEY"]),
    ("containerConfig.Environment", '[ "A=1" "\'HF_TOKEN=hidden\' B=2" ]', ["HF_TOKEN"]),
    ("containerConfig.PodmanArgs", '[ "--init" "--env=HF_TOKEN=hidden --tty" ]', ["HF_TOKEN"]),
    ("containerConfig.PodmanArgs", '[ "-e" "HF_TOKEN=hidden" ]', ["HF_TOKEN"]),
    ("containerConfig.PodmanArgs", '[ "--env" "VLLM_API_KEY=hidden" ]', ["VLLM_API_KEY"]),
    ("containerConfig.PodmanArgs", '"-ie HF_TOKEN=hidden"', ["HF_TOKEN"]),
    ("containerConfig.PodmanArgs", "\"-e 'HF_TOKEN=hidden'\"", ["HF_TOKEN"]),
    ("serviceConfig.Environment", '"VLLM_API_KEY=hidden"', ["VLLM_API_KEY"]),
    ("serviceConfig.SetCredential", '[ "" "hf:hidden" ]', ["SetCredential", "LoadCredential"]),
    (
        "serviceConfig.LoadCredential",
        f'[ "a:/run/a" "b:{STORED}" ]',
        ["LoadCredential", "Nix store", '"/run/secrets/token"'],
    ),
    ("serviceConfig.EnvironmentFile", f'"-{STORED}"', ["Nix store"]),
):
    for _where, _modules in zip((V, f"{V}.models.a"), everywhere(_leaf, _value), strict=True):
        _option = _leaf.partition(".")[0] if _leaf.startswith("environment.") else _leaf
        REFUSED[f"{_where}.{_leaf} = {_value}"] = Refused(
            _modules, [f"{_where}.{_option}", *_names]
        )


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED.keys())
def test_a_secret_that_would_reach_the_store_is_refused_and_not_shown(case: Refused) -> None:
    assert_one_message(case)
    assert "hidden" not in str(evaluate("failures", *case.modules))


FREE = {
    "names of secrets where none is set": [
        vllm(
            'containerConfig.PodmanArgs = "--label=HF_TOKEN=x --env HF_TOKENS=x -i HF_TOKEN=x";'
            'containerConfig.Environment = "A=HF_TOKEN=x";'
        )
    ],
    "a variable that ends like a secret's": [vllm('serviceConfig.Environment = "MY_HF_TOKEN=x";')],
    "an argument before a variable of another key": [
        vllm('containerConfig.PodmanArgs = [ "--label=a-e" "HF_TOKEN=x" ];')
    ],
    "files elsewhere": [
        vllm(
            'environmentFile = "/etc/vllm/.env"; serviceConfig.LoadCredential = "a:/run/a";'
            'containerConfig.Secret = "hf,type=env,target=HF_TOKEN";'
        )
    ],
    "a reset of credentials": [vllm('serviceConfig.SetCredential = "";')],
    "a token by the cache": [vllm("modelSettings.hf-token = true;")],
    "a certificate in the store": [
        vllm(),
        settings(f'tls = {{ certificate = "{STORED}"; key = "/run/secrets/key"; }};'),
    ],
    "a key that is a path of the host": [vllm(), settings(TLS.format("/run/secrets/key"))],
    "what a service of llmhop is given, and is no secret of it": [
        vllm(),
        f"""{{ systemd.services.llmhop = {{
          environment.LANG = "C";
          serviceConfig.LoadCredential = [ "cert:{STORED}" ];
          serviceConfig.EnvironmentFile = "{STORED}";
          serviceConfig.SetCredential = "motd:hello";
        }}; }}""",
    ],
}


@pytest.mark.parametrize("modules", FREE.values(), ids=FREE.keys())
def test_what_is_no_secret_is_not_told(modules: list[str]) -> None:
    assert evaluate("failures", *modules) == []
    assert evaluate("warnings", *modules) == []


def test_a_path_in_the_settings_is_not_copied_to_the_store() -> None:
    module = settings(TLS.format("/run/secrets/key"))
    for contract in ("contract", "withoutVllm"):
        assert evaluate(contract, vllm(), module)["llmhop"]["settings"]["tls"] == {
            "certificate": "/c.pem",
            "key": "/run/secrets/key",
        }


GIVEN = {
    "a variable": ("\\${env:T}", 'environment.T = "hidden";', "environment.T"),
    "a variable without braces": ("$T", 'environment.T = "hidden";', "environment.T"),
    "a variable of the unit's own": (
        "\\${env:T}",
        "serviceConfig.Environment = [ \"A=1 'T=hidden'\" ];",
        "serviceConfig.Environment",
    ),
    "a file of variables": (
        "\\${env:T}",
        f'serviceConfig.EnvironmentFile = [ "/run/a" "-{STORED}" ];',
        "serviceConfig.EnvironmentFile",
    ),
    "a credential": (
        "\\${file:t}",
        f'serviceConfig.LoadCredential = [ "t:{STORED}" ];',
        "serviceConfig.LoadCredential",
    ),
    "a credential of its own": (
        "\\${file:t}",
        'serviceConfig.SetCredential = "t:hidden";',
        "serviceConfig.SetCredential",
    ),
}


@pytest.mark.parametrize(("token", "text", "option"), GIVEN.values(), ids=GIVEN.keys())
def test_a_secret_that_llmhops_unit_gives_by_the_store_is_warned_of(
    token: str, text: str, option: str
) -> None:
    unit = f"{{ {UNIT} = {{ {text} }}; }}"
    modules = [vllm(), settings(f'authTokens = [ "{token}" ];'), unit]
    assert evaluate("failures", *modules) == []
    (warning,) = evaluate("warnings", *modules)
    assert warning.startswith(f"{UNIT}.{option} gives llmhop a secret by the Nix store")
    assert "hidden" not in warning


def test_the_key_of_a_certificate_that_a_credential_has_by_the_store_is_warned_of() -> None:
    unit = f"""{{ {UNIT}.serviceConfig.LoadCredential = [ "c:{STORED}" "k:{STORED}" ]; }}"""
    tls = 'tls = { certificate = "c"; key = "k"; };'
    (warning,) = evaluate("warnings", vllm(), settings(tls), unit)
    assert warning.startswith(f"{UNIT}.serviceConfig.LoadCredential")


@pytest.mark.parametrize("key", ['{ file = "k"; }', '[ "k" ]', "1", "true"])
def test_a_key_that_is_no_text_is_not_taken_for_a_name(key: str) -> None:
    unit = f"""{{ {UNIT}.serviceConfig.LoadCredential = [ "k:{STORED}" "1:{STORED}" ]; }}"""
    assert evaluate("warnings", vllm(), settings(TLS.format(key)), unit) == []


def test_plain_secrets_are_warned_of_while_llmhop_is_off() -> None:
    plain = settings(
        'authTokens = [ "hidden" ]; models.a.headers.X-Api-Key = "hidden";'
        'clients = { a.token = "hidden"; b.tokens = [ "hidden" "\\${env:B}" ]; };'
    )
    told = evaluate("warnings", vllm(), plain, LLMHOP_OFF)
    options = ["authTokens", "clients.a.token", "clients.b.tokens", "models.a.headers.X-Api-Key"]
    assert [warning.split()[0] for warning in told] == [f"{S}.{option}" for option in options]
    assert "hidden" not in str(told)
    assert evaluate("warnings", plain, LLMHOP_OFF) == []


@pytest.mark.parametrize("value", ["Bearer hidden", "basic hidden"])
def test_a_login_is_known_by_its_value_too(value: str) -> None:
    (told,) = evaluate("warnings", vllm(), settings(FAR.format("X-Team", f'"{value}"')))
    assert f"{S}.models.far.headers.X-Team" in told


@pytest.mark.parametrize("name", HOST["secret_variables"])
def test_the_generator_keeps_the_same_variables_from_units(name: str) -> None:
    for keys in ({"Environment": f"A=1 {name}=x"}, {"PodmanArgs": ["-e", f"{name}=x"]}):
        assert len(told_by_the_generator({"containerConfig": keys})) == 1
    assert len(told_by_the_generator({"environment": {name: "x"}})) == 1


@pytest.mark.parametrize("name", HOST["secret_flags"])
def test_the_generator_keeps_the_same_flags_from_units(name: str) -> None:
    for value in ("x", ["x"], "/x"):
        (told,) = told_by_the_generator({"modelSettings": {name: value}})
        assert f"set {HOST['secret_flags'][name]} in an environmentFile" in told


def told_by_the_generator(options: dict[str, object]) -> list[str]:
    contract = evaluate("config.services.llmhop.contract", vllm())
    contract["vllm"] |= options
    try:
        parse_config(json.dumps(contract).encode(), "contract")
    except GeneratorError as error:
        return [str(problem) for problem in error.findings]
    return []
