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

  # Python packages that nixpkgs has and the project uses.
  pythonPackageNames = [
    "click"
    "hatchling"
    "httptools"
    "hypothesis"
    "jsonschema"
    "msgspec"
    "mypy"
    "prometheus-client"
    "pydantic"
    "pytestCheckHook"
    "python-multipart"
    "setuptools"
    "trustme"
    "uvloop"
  ];

  pkgs = {
    coreutils = derivation "coreutils";
    formats.json = _: { type = json; };
    writeText = name: text: derivation name // { inherit text; };
    runCommand =
      name: environment: script:
      derivation name // environment // { inherit script; };
    python3Packages = lib.genAttrs pythonPackageNames derivation // {
      buildPythonApplication =
        arguments:
        derivation (arguments.pname or (throw "a package without pname"))
        // {
          inherit arguments;
          inherit (arguments) meta;
        };
    };
    callPackage =
      file: overrides:
      let
        package = import file;
        known = {
          inherit lib;
          inherit (pkgs) python3Packages;
        };
      in
      package (lib.intersectAttrs (lib.functionArgs package) known // overrides);
  };
in
{
  inherit derivation pkgs;
}
