"""Devices of models that are probably not meant are warned of."""

import pytest

from tests.module.nix import V, evaluate, model, needs_nix, vllm

pytestmark = needs_nix

NVIDIA = 'devices = [ "nvidia.com/gpu=%s" ];'
TOOLKIT = "{ hardware.nvidia-container-toolkit.enable = true; }"
SIDE_BY_SIDE = "startupOrdering = false;"


@pytest.mark.parametrize(
    ("module", "options"),
    [
        (vllm(NVIDIA % "all"), [f"{V}.devices"]),
        (vllm(models=model("qwen3.6", 1024, NVIDIA % 0)), [f'{V}.models."qwen3.6".devices']),
        (
            vllm(NVIDIA % "all", model("a", 1024, NVIDIA % 0) + model("b", 1025)),
            [f"{V}.devices", f"{V}.models.a.devices"],
        ),
    ],
)
def test_devices_of_nvidia_of_which_nothing_tells_podman_are_warned_of(
    module: str, options: list[str]
) -> None:
    (warning,) = evaluate("warnings", module)

    assert warning.startswith(f"{' and '.join(options)} has devices of NVIDIA")
    assert evaluate("warnings", module, TOOLKIT) == []
    assert evaluate("warnings", module, containerToolkit="false") != []


@pytest.mark.parametrize(
    "module",
    [
        vllm('devices = [ "/dev/kfd" "/dev/dri" ];'),
        vllm('devices = [ "amd.com/gpu=all" ];'),
        vllm(models=model("a", 1024) + model("b", 1025, f"enable = false; {NVIDIA % 0}")),
        vllm(NVIDIA % 0, model("a", 1024, "devices = [ ];")),
    ],
)
def test_without_them_nothing_is(module: str) -> None:
    assert evaluate("warnings", module) == []


def models(*devices: str) -> str:
    """Models that have a device each."""
    each = (
        model(f"m{n}", 18001 + n, f"devices = [ {device} ];") for n, device in enumerate(devices)
    )
    return "".join(each)


SHARED = [
    models('"nvidia.com/gpu=0"', '"nvidia.com/gpu=0"'),
    models('"nvidia.com/gpu=all"', '"nvidia.com/gpu=1"'),
    models('"/dev/kfd" "/dev/dri"', '"/dev/dri" "/dev/kfd"'),
]
OWN = [
    models('"nvidia.com/gpu=0"', '"nvidia.com/gpu=1"'),
    models('"nvidia.com/gpu=all"', '"amd.com/gpu=1"'),
    models('"/dev/kfd" "/dev/dri/renderD128"', '"/dev/kfd" "/dev/dri/renderD129"'),
    models("", ""),
    models('"nvidia.com/gpu=0"'),
]


@pytest.mark.parametrize("text", SHARED)
def test_models_that_start_side_by_side_on_one_device_are_warned_of(text: str) -> None:
    (warning,) = evaluate("warnings", vllm(SIDE_BY_SIDE, text), TOOLKIT)

    assert warning.startswith(f"{V}.startupOrdering is false")
    assert f"{V}.models.m0.devices, {V}.models.m1.devices." in warning
    assert evaluate("warnings", vllm("", text), TOOLKIT) == []


@pytest.mark.parametrize("text", OWN)
def test_models_with_a_device_of_their_own_are_not(text: str) -> None:
    assert evaluate("warnings", vllm(SIDE_BY_SIDE, text), TOOLKIT) == []
