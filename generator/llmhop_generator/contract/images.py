"""Which images are vLLM's own, so that their tags and what is in them are known."""

import re

# The repositories of the organisation `vllm` on Docker Hub (vllm-openai-rocm, -cpu and so
# on), which a mirror keeps below its own name, and the project's registry of CPU images
# (docs.vllm.ai, "Using Docker" and the installation pages).
_OWN = re.compile(
    r"(.+/)?vllm/vllm-openai(-[a-z0-9]+)*|public\.ecr\.aws/q9t5s3a7/vllm-([a-z0-9]+-)*release-repo"
)
_VERSION = re.compile(r"v?(\d+)\.(\d+)(?=$|[.+_-]|rc)")


def is_vllms_own(image: str) -> bool:
    """Whether an image, named without tag and digest, is one that vLLM's project builds."""
    return _OWN.fullmatch(image) is not None


def vllm_version(image: str, tag: str) -> tuple[int, int] | None:
    """The version of vLLM in an image, as far as its tag tells: major and minor.

    Others count in their own way: nvcr.io/nvidia/vllm:25.09-py3 has vLLM 0.10. Neither do
    tags such as `latest` tell.
    """
    version = _VERSION.match(tag)
    return (int(version[1]), int(version[2])) if version and is_vllms_own(image) else None
