"""What a host must have before anything on it is changed; every finding at once."""

import re
from collections.abc import Callable, Iterable, Iterator

from llmhop_generator.contract.options import Config, Model, Vllm
from llmhop_generator.errors import Finding, GeneratorError, option_path
from llmhop_generator.host.podman import LostContainersError, has_image, require_podman
from llmhop_generator.host.process import Account, account_of
from llmhop_generator.host.systemd import system_states
from llmhop_generator.layout import ROUTER_SOCKET, user_manager
from llmhop_generator.preflight.boot import model_boot_findings, router_boot_findings
from llmhop_generator.preflight.devices import device_findings
from llmhop_generator.preflight.paths import path_findings
from llmhop_generator.preflight.ports import port_findings, router_findings
from llmhop_generator.preflight.router.secrets import secret_findings
from llmhop_generator.preflight.router.service import service_findings, socket_findings
from llmhop_generator.preflight.storage.directories import directory_conflicts, directory_findings
from llmhop_generator.preflight.storage.disk import disk_findings
from llmhop_generator.preflight.storage.environment_files import environment_file_findings
from llmhop_generator.preflight.units import (
    hidden_findings,
    mask_findings,
    requirement_findings,
)
from llmhop_generator.preflight.user import kept_ids, user_findings
from llmhop_generator.preflight.verify import router_socket_findings, unit_findings
from llmhop_generator.render.model_unit import image
from llmhop_generator.render.tree import Rendered
from llmhop_generator.state.present import read_sources


def preflight(
    config: Config,
    rendered: Rendered,
    *,
    mends_podman: bool = False,
    left: str = "nothing was changed",
) -> None:
    """See that the host has what the containers of a configuration need, and llmhop its sockets.

    What a plan `mends_podman` of is no finding then. `left` says what of the host is changed.

    Raises:
        GeneratorError: with every finding.
    """
    found: list[Finding] = []
    if isinstance(config.vllm, Vllm):
        vllm = config.vllm
        found += _model_findings(vllm, mends_podman=mends_podman)
        found += _findings_of_program("units", lambda: unit_findings(vllm, rendered.quadlets))
    if rendered.router is not None:
        of_service = list(service_findings())
        found += router_boot_findings(has_models=isinstance(config.vllm, Vllm))
        found += _findings_of_program(ROUTER_SOCKET, lambda: router_socket_findings(config.llmhop))
        found += [*of_service, *socket_findings(config.llmhop), *router_findings(config.llmhop)]
        if not of_service:
            found += secret_findings(rendered.router)
    findings = sorted(set(found), key=_in_order)
    if findings:
        raise GeneratorError(f"the host is not ready, and {left}", findings)


def _in_order(finding: Finding) -> list[str]:
    """What findings are sorted by: their texts, but numbers in them, as of lines, by their size."""
    words = re.split(r"([0-9]+)", finding.what)
    return [finding.where, *(word.zfill(20) if word.isdecimal() else word for word in words)]


def switch_preflight(config: Config) -> None:
    """See that a switch of NixOS takes no directory from others, and has the ids that it declares.

    Raises:
        GeneratorError: with every finding.
    """
    if isinstance(config.vllm, Vllm):
        findings = sorted({*kept_ids(config.vllm), *directory_conflicts(config.vllm)})
        if findings:
            raise GeneratorError(
                "this host can't be switched so, and nothing was changed", findings
            )


def _model_findings(vllm: Vllm, *, mends_podman: bool) -> Iterator[Finding]:
    user = list(user_findings(vllm))
    yield from user
    podman = list(_podman_findings())
    yield from podman
    account = None if user else account_of(vllm.uid)
    absent = {}
    if not podman and account is not None:
        try:
            absent = _absent_images(vllm, account)
        except GeneratorError as error:
            if not (mends_podman and isinstance(error, LostContainersError)):
                yield Finding("Podman", str(error))
    if account is not None:
        yield from _manager_findings(vllm)
    yield from (
        Finding(
            where,
            f"{name} is not in the storage of {vllm.user}, and localhost/ is no registry to pull "
            f"it from; build, load or import it as {vllm.user}",
        )
        for name, where in absent.items()
        if name.startswith("localhost/")
    )
    yield from directory_findings(vllm, account)
    yield from environment_file_findings(vllm, account)
    yield from disk_findings(vllm, lacks_image=bool(absent))
    yield from path_findings(vllm, account)
    yield from device_findings(vllm)
    serving = {uid for uid, texts in read_sources().items() if texts}
    yield from port_findings(vllm, {vllm.uid, *serving})


def _findings_of_program(where: str, ask: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """What a program finds; that it can't be asked is a finding too."""
    try:
        yield from ask()
    except GeneratorError as error:
        yield Finding(where, str(error))


def _manager_findings(vllm: Vllm) -> Iterator[Finding]:
    try:
        yield from model_boot_findings(vllm.user, vllm.uid)
        yield from mask_findings(vllm)
        yield from hidden_findings(vllm)
        yield from requirement_findings(vllm)
    except GeneratorError as error:
        yield Finding("the user's manager", str(error))


def _podman_findings() -> Iterator[Finding]:
    try:
        require_podman()
    except GeneratorError as error:
        yield Finding("Podman", str(error))


def _absent_images(vllm: Vllm, account: Account) -> dict[str, str]:
    """The images that the user does not have, and where each is set; none where it is not up."""
    manager = user_manager(vllm.uid)
    if system_states([manager])[manager].active != "active":
        return {}
    named: dict[str, str] = {}
    for key, model in vllm.models.items():
        if model.enable:
            named.setdefault(image(vllm, model), _image_option(key, model))
    return {name: where for name, where in named.items() if not has_image(account, name)}


def _image_option(key: str, model: Model) -> str:
    for leaf, value in (("digest", model.digest), ("tag", model.tag)):
        if value is not None:
            return option_path(("vllm", "models", key, leaf))
    return option_path(("vllm", "tag"))
