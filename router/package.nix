{
  lib,
  python3Packages,
}:
let
  src = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions [
      ../pyproject.toml
      ./pyproject.toml
      ./share
      ./hatch_build.py
      ./config.schema.json
      (lib.fileset.fileFilter (file: !file.hasExt "pyc") ./llmhop)
      ../tests/conftest.py
      (lib.fileset.fileFilter (file: file.hasExt "py") ../tests/router)
      ../tests/stateful.py
      (lib.fileset.fileFilter (file: file.hasExt "py") ../tests/fuzz)
    ];
  };
in
python3Packages.buildPythonApplication {
  pname = "llmhop";
  version = "0.1.0";
  pyproject = true;

  inherit src;
  sourceRoot = "${src.name}/router";

  build-system = with python3Packages; [
    hatchling
    mypy
    setuptools
  ];

  # Compiles the way of a request, see hatch_build.py.
  env.LLMHOP_COMPILE = "1";

  dependencies = with python3Packages; [
    click
    httptools
    msgspec
    prometheus-client
    uvloop
  ];

  nativeCheckInputs = with python3Packages; [
    hypothesis
    jsonschema
    pytestCheckHook
    python-multipart
    trustme
    werkzeug
  ];

  preCheck = "cd ..";

  # Those that are quick, and need no other client than their own.
  enabledTestPaths = map (name: "tests/router/${name}.py") [
    "models/test_gate"
    "client/test_large_bodies"
    "client/test_request_id"
    "config/test_config"
    "config/test_schema"
    "config/test_secrets"
    "http/test_head"
    "http/test_multipart"
    "http/test_readers"
    "observe/test_usage"
    "upstream/test_health"
    "relay/test_relay"
    "routing/test_body_model"
    "routing/test_headers_and_auth"
    "routing/test_target"
    "test_errors"
  ];
  # The source above the package is read-only.
  pytestFlags = [
    "-pno:cacheprovider"
    # Warnings of other versions than the tested ones fail no build.
    "-Wdefault"
  ];

  pythonImportsCheck = [
    "llmhop.cli"
    "llmhop.process.server"
  ];

  meta = {
    description = "One port, many models: routes OpenAI-compatible requests to backends by their model";
    homepage = "https://github.com/llmhop/llmhop";
    license = lib.licenses.mit;
    mainProgram = "llmhop";
    platforms = lib.platforms.linux;
  };
}
