"""The credentials of llmhop's service, which systemd passes at its start and at no reload."""

import json
import re
from pathlib import Path

from llmhop_generator.layout import ROUTER_CREDENTIALS

_FILE = re.compile(r"\$\{file:([^}]+)}")


def lacks_credentials(config: str) -> bool:
    """Whether a configuration of llmhop names a credential that the running service was not given.

    Those are the relative paths in `${file:PATH}` and of the files in `tls`.
    """
    tls = json.loads(config).get("tls") or {}
    named = {*_FILE.findall(config), *(path for path in tls.values() if isinstance(path, str))}
    # Joined to it, an absolute path is itself.
    return any(
        not Path(ROUTER_CREDENTIALS, name).exists() for name in named if not name.startswith("/")
    )
