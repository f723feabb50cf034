"""The demo on a booted host: NixOS options become answers of a real vLLM on the CPU."""

import sys

from tests.host.cache import Cache
from tests.host.driver import Driver
from tests.host.errors import MachineError
from tests.host.machine import Machine
from tests.host.project import dependencies, wheels
from tests.host.root import debian_root, missing_prerequisites
from tests.host.setup import ETC, Setup, configs, vllm_image

CONFIG = "two-models"


def main() -> None:
    """Boot a host, provision it, apply the configuration, and chat with each model."""
    if reason := missing_prerequisites():
        sys.exit(f"error: {reason}")
    cache = Cache()
    print("making the host and the vLLM image (minutes at the first time, then cached)")
    setup = Setup(CONFIG, configs(CONFIG), vllm_image(cache), applied=False)
    try:
        root, prepare = debian_root(cache, dependencies()), setup.prepare(wheels(cache))
        with Driver(["demo"], root, cache.directory / "hosts", prepare=prepare) as driver:
            tell(driver.machines[0])
    except MachineError as error:
        sys.exit(f"error: {error}")


def tell(machine: Machine) -> None:
    """Run on the host what a user would, and show it."""
    machine.start()
    for command in (
        f"llmhop-generator apply {ETC}/{CONFIG}.json",
        "systemctl --user -M vllm@.host list-units 'vllm-*'",
        "curl -fsS http://127.0.0.1:8080/v1/models",
        "chat tiny-1.0 'Say something.'",
        "chat --stream tiny-2.0 'Say something.'",
    ):
        print(f"\n# {command}", flush=True)
        print(machine.succeed(command), end="", flush=True)


if __name__ == "__main__":
    main()
