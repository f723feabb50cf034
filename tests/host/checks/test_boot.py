"""What keeps a boot from starting all again, and units that their user can't read."""

import pytest

from tests.host.checked_host import CONFIG, PROVISIONED, CheckedHost, config

TARGET = "/etc/systemd/user/llmhop-models.target"
MANAGER = "user@503.service"
BACK = f"llmhop-generator provision {PROVISIONED}"
LACKS = {
    "linger": ("loginctl disable-linger vllm", BACK, "vllm.user: vllm does not linger"),
    "manager": (
        f"systemctl mask {MANAGER}",
        f"systemctl unmask {MANAGER}",
        f"vllm.user: {MANAGER} is masked",
    ),
    "target": (f"rm {TARGET}", BACK, "vllm.user: llmhop-models.target, which starts the models"),
    "link": (
        "rm /etc/systemd/user/default.target.wants/llmhop-models.target",
        BACK,
        "vllm.user: llmhop-models.target is not enabled",
    ),
    "closed target": (f"chmod 600 {TARGET}", BACK, f"vllm.user: {TARGET} has another owner"),
    "containers.conf": (
        "rm /etc/llmhop/containers.conf",
        BACK,
        "vllm.user: /etc/llmhop/containers.conf is not on this host",
    ),
    "service": (
        "systemctl disable llmhop.service",
        BACK,
        "llmhop.enable: llmhop.service is not enabled",
    ),
    "way": (
        "chmod 700 /etc/containers/systemd",
        "chmod 755 /etc/containers/systemd",
        "vllm.user: /etc/containers/systemd can't be passed by vllm",
    ),
}


@pytest.mark.parametrize("what", LACKS)
def test_what_a_boot_lacks_is_told(what: str, host: CheckedHost) -> None:
    command, back, told = LACKS[what]
    host.change(command, back)
    found = host.finding(config())
    assert found.startswith(told), found
    assert f"  {found}\n" in host.machine.execute(f"llmhop-generator diff {CONFIG} 2>&1")[1]
