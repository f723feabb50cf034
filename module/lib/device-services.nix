# Services that write the CDI specifications of NVIDIA's devices: NixOS's, and
# that of the toolkit's own packages. Podman starts no model without its device.
[
  "nvidia-container-toolkit-cdi-generator.service"
  "nvidia-cdi-refresh.service"
]
