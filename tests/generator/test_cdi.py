"""CDI names and the specifications that define them."""

import json

import pytest
from llmhop_generator.cdi import defined_names, is_cdi_name

NVIDIA = """\
---
cdiVersion: 0.5.0
containerEdits:
  deviceNodes:
  - path: /dev/nvidiactl
  hooks:
  - args:
    - nvidia-cdi-hook
    hookName: createContainer
    name: not-a-device
devices:
- containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
      name: neither
  name: "0"
- name: all
  containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
kind: nvidia.com/gpu
"""

INDENTED = """\
kind: "amd.com/gpu"
devices:
  - name: '0'
    containerEdits:
      mounts:
        - name: neither
  - name: GPU-1
containerEdits: {}
"""


@pytest.mark.parametrize("name", ["nvidia.com/gpu=all", "amd.com/gpu=0", "v.x/c-d=GPU-8:1.0"])
def test_a_cdi_name_is_vendor_class_and_device(name: str) -> None:
    assert is_cdi_name(name)


@pytest.mark.parametrize("name", ["/dev/dri/renderD128", "gpu0", "/dev/a=b", "nvidia.com/gpu="])
def test_a_path_is_no_cdi_name(name: str) -> None:
    assert not is_cdi_name(name)


def test_a_specification_in_yaml_defines_its_devices_and_nothing_else() -> None:
    assert defined_names(NVIDIA) == {"nvidia.com/gpu=0", "nvidia.com/gpu=all"}
    assert defined_names(INDENTED) == {"amd.com/gpu=0", "amd.com/gpu=GPU-1"}


def test_a_specification_in_json_defines_its_devices() -> None:
    spec = {"cdiVersion": "0.5.0", "kind": "v.com/npu", "devices": [{"name": "a"}, {"name": "b"}]}
    assert defined_names(json.dumps(spec)) == {"v.com/npu=a", "v.com/npu=b"}


@pytest.mark.parametrize("text", ["", "[]", "nonsense", '{"kind": "a/b"}', "devices:\n- name: x\n"])
def test_what_is_no_specification_defines_nothing(text: str) -> None:
    assert defined_names(text) == set()
