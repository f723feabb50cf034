# The site of docs/, with its search.
{ mdbook, runCommand }:
runCommand "llmhop-docs" { nativeBuildInputs = [ mdbook ]; } ''
  mdbook build ${../docs} --dest-dir "$out"
''
