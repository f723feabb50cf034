{
  lib,
  python3Packages,
  # Judges its settings; on NixOS the one that serves.
  llmhop,
}:
let
  src = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions [
      ../pyproject.toml
      ./pyproject.toml
      ./share
      ./contract.schema.json
      (lib.fileset.fileFilter (file: !file.hasExt "pyc") ./llmhop_generator)
      (lib.fileset.fileFilter (file: file.hasExt "py") ../tests/generator)
      (lib.fileset.fileFilter (file: file.hasExt "json") ../examples)
    ];
  };
in
python3Packages.buildPythonApplication {
  pname = "llmhop-generator";
  version = "0.1.0";
  pyproject = true;

  inherit src;
  sourceRoot = "${src.name}/generator";

  build-system = [ python3Packages.hatchling ];

  dependencies = with python3Packages; [
    click
    pydantic
    pyyaml
  ];

  makeWrapperArgs = [
    "--set-default"
    "LLMHOP_COMMAND"
    (lib.getExe llmhop)
  ];

  nativeCheckInputs = [
    llmhop
  ]
  ++ (with python3Packages; [
    hypothesis
    jsonschema
    pytestCheckHook
  ]);

  preCheck = "cd ..";

  # Those that need neither Nix nor the router.
  enabledTestPaths = map (name: "tests/generator/test_${name}.py") [
    "any_input"
    "bad_input"
    "cdi"
    "contract"
    "flags"
    "plan"
    "router_units"
    "staging"
    "start"
    "turns"
    "unit_keys"
  ];
  # The source above the package is read-only.
  pytestFlags = [
    "-pno:cacheprovider"
    # Warnings of other versions than the tested ones fail no build.
    "-Wdefault"
  ];

  pythonImportsCheck = [ "llmhop_generator.cli" ];

  meta = {
    description = "Turns the configuration of llmhop into Quadlet units and the router's config";
    homepage = "https://github.com/llmhop/llmhop";
    license = lib.licenses.mit;
    mainProgram = "llmhop-generator";
    platforms = lib.platforms.linux;
  };
}
