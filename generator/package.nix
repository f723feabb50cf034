{ lib, python3Packages }:
python3Packages.buildPythonApplication {
  pname = "llmhop-generator";
  version = "0.1.0";
  pyproject = true;

  src = lib.cleanSource ./.;

  build-system = [ python3Packages.hatchling ];

  dependencies = [
    python3Packages.click
    python3Packages.pydantic
  ];

  pythonImportsCheck = [ "llmhop_generator" ];

  meta = {
    description = "Turns the configuration of llmhop into Quadlet units and the router's config";
    license = lib.licenses.mit;
    mainProgram = "llmhop-generator";
    platforms = lib.platforms.linux;
  };
}
