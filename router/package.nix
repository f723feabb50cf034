{ lib, python3Packages }:
python3Packages.buildPythonApplication {
  pname = "llmhop";
  version = "0.1.0";
  pyproject = true;

  src = lib.fileset.toSource {
    root = ./.;
    fileset = lib.fileset.unions [
      ./pyproject.toml
      (lib.fileset.fileFilter (file: file.hasExt "py" || file.name == "py.typed") ./llmhop)
    ];
  };

  build-system = [ python3Packages.hatchling ];

  dependencies = with python3Packages; [
    click
    httptools
    msgspec
    prometheus-client
    uvloop
  ];

  pythonImportsCheck = [
    "llmhop.cli"
    "llmhop.server"
  ];

  meta = {
    description = "One port, many models: routes OpenAI-compatible requests to backends by their model";
    license = lib.licenses.mit;
    mainProgram = "llmhop";
    platforms = lib.platforms.linux;
  };
}
