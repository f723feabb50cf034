# What is probably not meant of the models' devices; the host may be right all the same.
{ config, lib, ... }:
let
  cfg = config.services.llmhop.vllm;
  modelOption = import ../lib/model-option-path.nix { inherit lib; };
  enabled = lib.filter (key: cfg.models.${key}.enable) (lib.attrNames cfg.models);

  # An option where it stands: those of a model follow those of all.
  ofModels = lib.filter (key: cfg.models.${key}.devices != cfg.devices) enabled;
  given =
    lib.optional (lib.length ofModels < lib.length enabled) {
      option = "services.llmhop.vllm.devices";
      inherit (cfg) devices;
    }
    ++ map (key: {
      option = modelOption key "devices";
      inherit (cfg.models.${key}) devices;
    }) ofModels;
  isNvidia = lib.hasPrefix "nvidia.com/";
  nvidia = lib.filter (each: lib.any isNvidia each.devices) given;
  hasToolkit = config.hardware.nvidia-container-toolkit.enable or false;

  # `vendor/class=all` is each of its kind.
  kindOf = device: lib.head (lib.splitString "=" device);
  isSame =
    one: other:
    one == other
    || kindOf one == kindOf other && (lib.hasSuffix "=all" one || lib.hasSuffix "=all" other);
  # What every model of AMD's has beside its own.
  ownOf = key: lib.remove "/dev/kfd" cfg.models.${key}.devices;
  sharing = lib.filter (
    key:
    lib.any (
      other: other != key && lib.any (one: lib.any (isSame one) (ownOf other)) (ownOf key)
    ) enabled
  ) enabled;
in
{
  config.warnings = lib.mkIf cfg.enable (
    lib.optional (nvidia != [ ] && !hasToolkit) ''
      ${lib.concatMapStringsSep " and " (each: each.option) nvidia} has devices of NVIDIA, of
      which Podman knows nothing until something writes their CDI specification. Set
      hardware.nvidia-container-toolkit.enable = true, unless something else does.
    ''
    ++ lib.optional (!cfg.startupOrdering && sharing != [ ]) ''
      services.llmhop.vllm.startupOrdering is false, and these models share a device:
      ${lib.concatMapStringsSep ", " (key: modelOption key "devices") sharing}. Started side by
      side they measure its free memory at the same time, and fail. Leave it on, or give each a
      device of its own.
    ''
  );
}
