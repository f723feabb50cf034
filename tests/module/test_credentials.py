"""Secrets that llmhop's service would not be given are refused by their option."""

import pytest

from tests.module.nix import Refused, assert_one_message, evaluate, needs_nix, settings, vllm

pytestmark = needs_nix

S = "services.llmhop.settings"
FILE = r'authTokens = [ "\${file:client-token}" ];'
ENV = r'authTokens = [ "\${env:TOKEN}" ];'
LOADED = "systemd.services.llmhop.serviceConfig.LoadCredential"


def unit(text: str) -> str:
    """Give a module with more of [Service] of llmhop."""
    return f"{{ systemd.services.llmhop.serviceConfig = {{ {text} }}; }}"


def systemd(text: str) -> str:
    """Give a module with an option of NixOS for systemd that is set so."""
    name, _, value = text.partition(" = ")
    return f"{{ lib, ... }}: {{ options.systemd.{name} = lib.mkOption {{ default = {value}; }}; }}"


REFUSED = {
    "a token": Refused(
        [vllm(), settings(FILE)],
        [f"{S}.authTokens", "`client-token`", LOADED, '"client-token:/run/secrets/client-token"'],
    ),
    "a token beside another credential": Refused(
        [vllm(), settings(FILE), unit('LoadCredential = "token:/run/token";')],
        [f"{S}.authTokens", "`client-token`"],
    ),
    "a credential whose name begins alike": Refused(
        [
            vllm(),
            settings(FILE),
            unit('LoadCredential = [ "client:/t" "client-token2:/t" ];'),
        ],
        ["`client-token`"],
    ),
    "a header": Refused(
        [
            vllm(),
            settings(r'models."gpt-4o" = { url = "https://x"; headers.A = "Bearer \${file:k}"; };'),
        ],
        [f"{S}.models.gpt-4o.headers.A", "`k`"],
    ),
    "one name at two places": Refused(
        [
            vllm(),
            settings(r'authTokens = [ "\${file:k}" ]; models.a.headers.A = "\${file:k}";'),
        ],
        [f"{S}.authTokens and {S}.models.a.headers.A names the credential `k`"],
    ),
    "a certificate": Refused(
        [
            vllm(),
            settings('tls = { certificate = "chain.pem"; key = "/k.pem"; };'),
            unit('LoadCredential = [ "key.pem:/k" ];'),
        ],
        [f"{S}.tls.certificate", "`chain.pem`"],
    ),
    "the key of a certificate": Refused(
        [vllm(), settings('tls = { certificate = "/c.pem"; key = "key.pem"; };')],
        [f"{S}.tls.key", "`key.pem`"],
    ),
    "a relative path": Refused(
        [
            vllm(),
            settings(r'authTokens = [ "\${file:secrets/token}" ];'),
            unit('ImportCredential = "*";'),
        ],
        [f"{S}.authTokens", "`secrets/token`", "absolute path"],
    ),
    "a variable": Refused(
        [vllm(), settings(ENV), unit('Environment = "TOKE=x";')],
        [f"{S}.authTokens", "`TOKEN`", "EnvironmentFile"],
    ),
    "a variable without braces": Refused(
        [vllm(), settings('authTokens = [ "$TOKEN" ];')], [f"{S}.authTokens", "`TOKEN`"]
    ),
    "a variable in braces alone": Refused(
        [vllm(), settings(r'authTokens = [ "\${TOKEN}" ];')], [f"{S}.authTokens", "`TOKEN`"]
    ),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED.keys())
def test_a_secret_that_no_unit_gives_is_one_message_that_names_the_option(case: Refused) -> None:
    assert_one_message(case)


ALLOWED = {
    "a list": [settings(FILE), unit('LoadCredential = [ "a:/a" "client-token:/t" ];')],
    "one": [settings(FILE), unit('LoadCredential = "client-token:/t";')],
    "from systemd's store": [settings(FILE), unit('LoadCredential = "client-token";')],
    "encrypted": [settings(FILE), unit('LoadCredentialEncrypted = "client-token:/t";')],
    "written there": [settings(FILE), unit('SetCredentialEncrypted = "client-token:Zm9v";')],
    "written there in plain": [settings(FILE), unit('SetCredential = "client-token:x";')],
    "no name, which the build refuses": [settings(r'authTokens = [ "\${file:}" ];')],
    "imported": [settings(FILE), unit('ImportCredential = "client-*";')],
    "a specifier": [settings(FILE), unit('LoadCredential = "%p-token:/t";')],
    "a directory": [
        settings(r'authTokens = [ "\${file:dir_token}" ];'),
        unit('LoadCredential = "dir:/run/tokens";'),
    ],
    "an absolute path": [settings(r'authTokens = [ "\${file:/run/token}" ];')],
    "a variable of the unit": [
        settings(ENV),
        '{ systemd.services.llmhop.environment.TOKEN = "x"; }',
    ],
    "a variable of [Service]": [
        settings(ENV),
        unit('Environment = [ "A=b" "TOKEN=x" ];'),
    ],
    "a variable of a file": [settings(ENV), unit('EnvironmentFile = "/run/env";')],
    "a variable of the manager": [settings(ENV), unit('PassEnvironment = "TOKEN";')],
    "variables of systemd": [
        settings(r'authTokens = [ "\${env:INVOCATION_ID}\${env:CREDENTIALS_DIRECTORY}" ];'),
    ],
    "a variable of every service": [settings(ENV), systemd('globalEnvironment = { TOKEN = "x"; }')],
    "a variable of the manager's settings": [
        settings(ENV),
        systemd('settings = { Manager.DefaultEnvironment = "A=b TOKEN=x"; }'),
    ],
    "a variable of the manager's text, before settings": [
        settings(ENV),
        systemd('extraConfig = "DefaultEnvironment=TOKEN=x"'),
    ],
    "the rest of a secret with a dollar sign": [settings('authTokens = [ "a$TOKen" ];')],
    "no llmhop": [settings(FILE), "{ services.llmhop.enable = false; }"],
}


@pytest.mark.parametrize("modules", ALLOWED.values(), ids=ALLOWED.keys())
def test_a_secret_that_a_unit_may_give_is_not_refused(modules: list[str]) -> None:
    assert evaluate("failures", vllm(), *modules) == []
