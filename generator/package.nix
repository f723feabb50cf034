{
  lib,
  python3Packages,
  util-linux,
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
      ../tests/conftest.py
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
    rich
  ];

  makeWrapperArgs = [
    # findmnt, which no service has on NixOS.
    "--suffix"
    "PATH"
    ":"
    (lib.makeBinPath [ util-linux ])
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
  enabledTestPaths = map (name: "tests/generator/${name}.py") [
    "contract/test_flags"
    "contract/test_options"
    "contract/test_unit_keys"
    "host/test_cdi"
    "parse/test_any_input"
    "parse/test_bad_input"
    "planning/test_planner"
    "planning/test_batches"
    "render/test_router_units"
    "render/test_start"
    "state/test_staging"
  ];
  # The source above the package is read-only.
  pytestFlags = [
    "-pno:cacheprovider"
    # Warnings of other versions than the tested ones fail no build.
    "-Wdefault"
  ];

  pythonImportsCheck = [ "llmhop_generator.cli.main" ];

  meta = {
    description = "Turns the configuration of llmhop into Quadlet units and the router's config";
    homepage = "https://github.com/llmhop/llmhop";
    license = lib.licenses.mit;
    mainProgram = "llmhop-generator";
    platforms = lib.platforms.linux;
  };
}
