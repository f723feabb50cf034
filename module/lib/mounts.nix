# The file systems that models need, as keys of [Unit], each a list of words;
# render/mounts.py has the same.
# Without those of the two directories Podman would fill what lies below them; without
# another only the model that has it fails.
{ lib, vllm }:
let
  inherit (import ./unit-text.nix { inherit lib; }) word;
  words = paths: map word (lib.sort lib.lessThan (lib.unique paths));

  enabled = lib.filter (model: model.enable) (lib.attrValues vllm.models);
  # An empty line takes those before it away.
  lines = lib.foldl' (
    before: line: if lib.trim (toString line) == "" then [ ] else before ++ [ (toString line) ]
  ) [ ];
  source =
    line:
    let
      parts = lib.splitString ":" (lib.trim line);
      path = lib.head parts;
    in
    lib.optional (
      lib.length parts > 1 && lib.hasPrefix "/" path && !lib.hasInfix "%" path && !lib.hasInfix "$" path
    ) path;
  volumes =
    model:
    lib.concatMap source (
      lines (lib.toList ((vllm.containerConfig // model.containerConfig).Volume or [ ]))
    );
  files = lib.filter (file: file != null) (
    [ vllm.environmentFile ] ++ map (model: model.environmentFile) enabled
  );
  wanted = lib.concatMap volumes enabled ++ map toString files;
in
{
  RequiresMountsFor = words [
    (toString vllm.dataDir)
    (toString vllm.cacheDir)
  ];
}
// lib.optionalAttrs (wanted != [ ]) { WantsMountsFor = words wanted; }
