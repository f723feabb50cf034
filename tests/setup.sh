# Sourced by tests/demo and tests/run: makes .venv with the two packages and what tests need.
# It installs Debian packages only where one is missing, as root or through sudo.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

install_packages() {
  local missing=()
  for package in "$@"; do
    dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q '^install ok' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || {
      echo "error: these packages are needed: ${missing[*]}; install them as root" >&2
      exit 1
    }
    as_root=(sudo)
  fi
  echo "installing ${missing[*]}" >&2
  "${as_root[@]}" apt-get update -q >/dev/null
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -q -y --no-install-recommends "${missing[@]}" >/dev/null
}

# Debian's python3 comes without the part that makes virtual environments.
python3 -c 'import ensurepip, venv' 2>/dev/null || install_packages python3-venv

made_from=$(cat generator/pyproject.toml router/pyproject.toml tests/requirements.txt | sha256sum)
# Two commands that start at once make it once.
exec 9>.venv.lock
flock 9
if [ "$(cat .venv/made-from 2>/dev/null)" != "$made_from" ]; then
  echo "making .venv" >&2
  python3 -m venv --clear .venv
  LLMHOP_COMPILE=0 .venv/bin/pip install --quiet --disable-pip-version-check \
    -r tests/requirements.txt -e generator -e router
  echo "$made_from" >.venv/made-from
fi
exec 9>&-
