"""What llmhop writes itself of the keys to which a deployer can add."""

from collections.abc import Mapping, Sequence

CACHE_HOME = "/root/.cache"
"""Where a container keeps what it compiles: a volume of its own."""

MODEL_CACHE = f"{CACHE_HOME}/huggingface"
"""Where a container has the option `cacheDir`."""


def own_lines(container: str, cache_dir: str) -> Mapping[str, Sequence[str]]:
    """Give the lines of each key, for a container's name and the option `cacheDir`."""
    return {
        "DropCapability": ["all"],
        # Podman's default has noexec, and what is compiled at run time is loaded from here.
        "Tmpfs": ["/tmp:rw,exec,nosuid,nodev,mode=1777"],  # noqa: S108 - a mount point
        # What vLLM and its libraries compile, kept across restarts.
        "Volume": [f"{container}-cache:{CACHE_HOME}", f"{cache_dir}:{MODEL_CACHE}"],
    }
