# All that `tests/run` installs elsewhere, of nixpkgs' versions. Scenarios on a
# booted host need root and mmdebstrap as well.
{
  curl,
  mdbook,
  mkShell,
  nix-eval-jobs,
  nixfmt,
  python3,
  ruff,
}:
mkShell {
  packages = [
    curl
    mdbook
    nix-eval-jobs
    nixfmt
    ruff
    (python3.withPackages (
      ps: with ps; [
        # Of the two packages.
        click
        httptools
        msgspec
        prometheus-client
        pydantic
        pyyaml
        rich
        uvloop

        # Of the tests.
        aiohttp
        anthropic
        click-man
        editables
        h11
        hatchling
        hypothesis
        import-linter
        jsonschema
        mypy
        openai
        packaging
        pytest
        pytest-xdist
        python-multipart
        setuptools
        trustme
        types-jsonschema
        types-pyyaml
        websockets
        werkzeug
      ]
    ))
  ];

  # The working tree, not an installed copy.
  shellHook = ''
    export PYTHONPATH="$PWD/generator:$PWD/router"
  '';
}
