# The file systems that models need, as keys of [Unit], each a list of words;
# render/mounts.py has the same.
# Without those of the two directories Podman would fill what lies below them; without
# another only the model that has it fails.
{ lib, vllm }:
let
  inherit (import ./unit-text.nix { inherit lib; }) word;
  inherit (import ./paths.nix { inherit lib; }) plain;
  # systemd passes over those that are not normal.
  words = paths: map word (lib.sort lib.lessThan (lib.unique (map plain paths)));

  enabled = lib.filter (model: model.enable) (lib.attrValues vllm.models);
  # An empty line takes those before it away.
  lines =
    value:
    lib.foldl' (before: line: if line == "" then [ ] else before ++ [ line ]) [ ] (
      map (line: lib.trim (toString line)) (lib.toList value)
    );
  volume =
    line:
    let
      parts = lib.splitString ":" line;
    in
    lib.optional (lib.length parts > 1) (lib.head parts);
  mount =
    line:
    let
      fields = map lib.trim (lib.splitString "," line);
      values = key: map (lib.removePrefix "${key}=") (lib.filter (lib.hasPrefix "${key}=") fields);
    in
    lib.optionals (lib.elem "type=bind" fields) (lib.concatMap values [
      "source"
      "src"
    ]);
  sources =
    model:
    let
      keys = vllm.containerConfig // model.containerConfig;
    in
    lib.filter
      (path: lib.hasPrefix "/" path && !lib.hasInfix "%" path && !lib.hasInfix "$" path)
      (
        lib.concatMap volume (lines (keys.Volume or [ ]))
        ++ lib.concatMap mount (lines (keys.Mount or [ ]))
      );
  files = lib.filter (file: file != null) (
    [ vllm.environmentFile ] ++ map (model: model.environmentFile) enabled
  );
  wanted = lib.concatMap sources enabled ++ map toString files;
in
{
  RequiresMountsFor = words [
    (toString vllm.dataDir)
    (toString vllm.cacheDir)
  ];
}
// lib.optionalAttrs (wanted != [ ]) { WantsMountsFor = words wanted; }
