"""CDI names, the specifications that define them, and where Podman looks for those."""

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from llmhop_generator.host.cdi import DEFAULT_SPEC_DIRS, defined_names, is_cdi_name, spec_dirs

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

FLOW = """\
{cdiVersion: 0.5.0, kind: v.com/npu, devices: [{name: a}, {name: "b", containerEdits: {}}]}
"""

QUOTED = """\
"kind": v.com/npu # the kind
# devices:
"devices": # all of them
  -
    'name': a # the first
  - {"name": b}
"""

ANCHORED = """\
kind: &kind v.com/npu
devices:
- &first
  containerEdits: {env: [A=b]}
  name: a
- <<: *first
  name: >-
    b
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
    for spec in (FLOW, QUOTED, ANCHORED):
        assert defined_names(spec) == {"v.com/npu=a", "v.com/npu=b"}


NAMES = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._:-]{0,8}[A-Za-z0-9])?", fullmatch=True)
EDITS = st.dictionaries(st.sampled_from(["env", "hooks", "name", "kind"]), st.lists(st.text()))


@given(
    st.lists(st.fixed_dictionaries({"name": NAMES}, optional={"containerEdits": EDITS})),
    st.sampled_from([True, False, None]),
    st.booleans(),
    st.sampled_from([None, "'", '"']),
)
def test_a_specification_is_read_however_it_is_written(
    devices: list[dict[str, Any]], flow: bool | None, sort: bool, quotes: str | None
) -> None:
    spec = {"cdiVersion": "0.5.0", "kind": "v.com/npu", "devices": devices}
    names = {f"v.com/npu={device['name']}" for device in devices}
    text = yaml.safe_dump(spec, default_flow_style=flow, sort_keys=sort, default_style=quotes)
    assert defined_names(text) == names
    assert defined_names(json.dumps(spec)) == names


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "nonsense",
        '{"kind": "a/b"}',
        "devices:\n- name: x\n",
        "a: [",
        "\t",
        "a: !!python/x 1",
    ],
)
def test_what_is_no_specification_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"has no kind or no devices|is not YAML"):
        defined_names(text)


@pytest.mark.parametrize(
    ("configurations", "directories"),
    [
        ([], list(DEFAULT_SPEC_DIRS)),
        (["[engine]\nruntime = 'crun'\n"], list(DEFAULT_SPEC_DIRS)),
        (["[engine]\ncdi_spec_dirs = ['/a']\n"], ["/a"]),
        (["[engine]\ncdi_spec_dirs = ['/a']\n", "[engine]\ncdi_spec_dirs = ['/b']\n"], ["/b"]),
        (["[engine]\ncdi_spec_dirs = ['/a', {append = true}]\n"], [*DEFAULT_SPEC_DIRS, "/a"]),
        (["[engine]\ncdi_spec_dirs = []\n"], []),
    ],
)
def test_podman_looks_where_its_configuration_says(
    configurations: list[str], directories: list[str]
) -> None:
    assert spec_dirs(configurations) == directories


def test_a_configuration_that_is_no_toml_is_told() -> None:
    with pytest.raises(ValueError, match="end of document"):
        spec_dirs(["engine = ["])
