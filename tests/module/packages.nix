# A stand-in for nixpkgs' package set: derivations that are never built. Where
# the result matters (text, arguments of a package) it is kept for the tests.
{ lib }:
let
  inherit (lib) types;

  derivation = name: {
    type = "derivation";
    inherit name;
    outPath = "${builtins.storeDir}/${lib.fixedWidthString 32 "0" ""}-${name}";
    meta.mainProgram = name;
  };

  # What is made of a text has another path where that is another one.
  made =
    name: text: more:
    derivation name
    // {
      inherit text;
      outPath = "${builtins.storeDir}/${lib.substring 0 32 (builtins.hashString "sha256" text)}-${name}";
    }
    // more;

  # nixpkgs' pkgs.formats.json: null and scalars, lists and sets of them.
  json =
    types.nullOr (
      types.oneOf [
        types.bool
        types.int
        types.float
        types.str
        types.path
        (types.attrsOf json)
        (types.listOf json)
      ]
    )
    // {
      description = "JSON value";
    };

  # Names that nixpkgs has and the project uses.
  pythonPackageNames = lib.splitString " " (
    "aiohttp anthropic click click-man editables h11 hatchling httptools hypothesis import-linter jsonschema "
    + "msgspec mypy openai "
    + "packaging prometheus-client pydantic pytest pytest-xdist pytestCheckHook python-multipart pyyaml "
    + "rich setuptools trustme types-jsonschema types-pyyaml uvloop vllm websockets werkzeug"
  );
  packageNames = lib.splitString " " (
    "bashInteractive coreutils curl jq mdbook nix-eval-jobs nixfmt nixfmt-tree ruff util-linux"
  );

  pkgs = lib.genAttrs packageNames derivation // {
    inherit lib;
    stdenv.hostPlatform.system = "x86_64-linux";
    stdenv.buildPlatform.canExecute = host: host == pkgs.stdenv.hostPlatform;
    stdenv.cc = derivation "cc";
    # Of the machine that builds, where that is another one.
    buildPackages = pkgs // {
      podman = derivation "build-podman";
      systemd = derivation "build-systemd";
      callPackage = file: overrides: made "build-package" (toString file) { };
    };
    cross = pkgs // {
      stdenv = pkgs.stdenv // {
        buildPlatform.canExecute = _: false;
      };
    };

    formats.json = _: { type = json; };
    writeText = name: text: made name text { };
    writeTextDir = path: text: made (baseNameOf path) text { inherit path; };
    writeTextFile = file: derivation file.name // { inherit (file) text; };
    writeShellScriptBin = name: text: derivation name // { inherit text; };
    writers.writePython3Bin =
      name: _: text:
      derivation name // { inherit text; };
    runCommand =
      name: environment: script:
      made name (environment.text or script) (environment // { inherit script; });
    mkShell = arguments: derivation "shell" // arguments;

    python3Packages = lib.genAttrs pythonPackageNames derivation // {
      buildPythonApplication =
        arguments:
        derivation (arguments.pname or (throw "a package without pname"))
        // {
          inherit arguments;
          inherit (arguments) meta;
        };
    };
    python3 = derivation "python3" // {
      withPackages = choose: derivation "python3-env" // { packages = choose pkgs.python3Packages; };
    };

    dockerTools = {
      fakeNss = derivation "fake-nss";
      usrBinEnv = derivation "usr-bin-env";
      streamLayeredImage = image: derivation image.name // { inherit image; };
    };
    testers.runNixOSTest = import ./nixos-test.nix { inherit lib; };

    callPackage = callFrom pkgs;
    extend =
      overlay:
      let
        final = pkgs // overlay final pkgs // { callPackage = callFrom final; };
      in
      final;
  };
  callFrom =
    from: file: overrides:
    let
      package = import file;
      called = package (lib.intersectAttrs (lib.functionArgs package) from // overrides);
    in
    called // { override = more: callFrom from file (overrides // more); };
in
{
  inherit derivation pkgs;
}
