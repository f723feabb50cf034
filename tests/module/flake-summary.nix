# What the tests look at of the flake's outputs, as JSON.
let
  inherit (import ./flake.nix)
    flake
    lib
    outputs
    pkgs
    ;
  names = lib.mapAttrs (_: lib.mapAttrs (_: package: package.name));
  # With another overlay over it, which the generator follows.
  other = pkgs.writeText "other" "" // {
    meta.mainProgram = "other";
  };
  overlaid = outputs.overlays.default (pkgs.extend (_: _: { llmhop = other; })) pkgs;
  here = outputs.checks.x86_64-linux;
  programs = { inherit (outputs.packages.x86_64-linux) llmhop llmhop-generator; };
in
{
  kinds = lib.attrNames outputs;
  inputs = lib.mapAttrs (_: input: input.url) flake.inputs;
  nixosModules = lib.mapAttrs (_: toString) outputs.nixosModules;
  packages = names outputs.packages;
  checks = names outputs.checks;
  devShells = names outputs.devShells;
  formatter = lib.mapAttrs (_: package: package.name) outputs.formatter;
  apps = lib.mapAttrs (_: lib.mapAttrs (_: app: removeAttrs app [ "meta" ])) outputs.apps;
  overlay = lib.mapAttrs (_: package: package.name) overlaid;
  overlaidJudge = lib.last overlaid.llmhop-generator.arguments.makeWrapperArgs;
  shell = lib.concatMap (
    package: if package ? packages then map (p: p.name) package.packages else [ package.name ]
  ) outputs.devShells.x86_64-linux.default.packages;

  projects = lib.mapAttrs (_: package: {
    inherit (package.arguments) version;
    dependencies = map (p: p.name) package.arguments.dependencies;
    checkInputs = map (p: p.name) package.arguments.nativeCheckInputs;
    paths = package.arguments.enabledTestPaths;
    source = "${package.arguments.src}";
  }) programs;

  nixosTests = outputs.legacyPackages.x86_64-linux.nixosTests;

  scripts = {
    examples = here.examples.script;
    formatting = here.formatting.script;
    docs = outputs.packages.x86_64-linux.docs.script;
  };
}
