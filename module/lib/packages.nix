# The two packages: those of an overlay where there is one, else made here.
{ pkgs }:
rec {
  llmhop = pkgs.llmhop or (pkgs.callPackage ../../router/package.nix { });
  llmhop-generator =
    pkgs.llmhop-generator or (pkgs.callPackage ../../generator/package.nix { inherit llmhop; });
}
