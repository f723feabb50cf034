"""What is refused of the values of flags of `podman run` that are no keys of [Container].

Podman reads them as it makes the container (cmd/podman/common/create.go and
pkg/specgenutil/specgen.go of Podman 5.4).
"""

from llmhop_generator.contract.keys.arguments import SWITCHES
from llmhop_generator.contract.keys.go_text import (
    is_float,
    is_signed,
    is_size,
    is_true_or_false,
    is_unsigned,
)
from llmhop_generator.contract.keys.rule import Rule

_NOT_NEGATIVE = """
--cpu-period --cpu-rt-period --cpu-shares --preserve-fds --retry --timeout
"""
_WHOLE = "--cpu-quota --cpu-rt-runtime --memory-swappiness --oom-score-adj"
_SIZES = "--memory --memory-reservation --shm-size-systemd -m"

FLAG_VALUES = {
    **dict.fromkeys(
        SWITCHES["PodmanArgs"], Rule("give true or false, or no value", taken=is_true_or_false)
    ),
    **dict.fromkeys(_NOT_NEGATIVE.split(), Rule("give a number", taken=is_unsigned)),
    **dict.fromkeys(_WHOLE.split(), Rule("give a number", taken=is_signed)),
    **dict.fromkeys(_SIZES.split(), Rule("give a size such as 32g", taken=is_size)),
    "--annotation": Rule("give KEY=VALUE", taken=".*=.*"),
    "--blkio-weight": Rule("give a number", taken="[0-9]{1,5}"),
    "--cpus": Rule("give a number of processors, such as 1.5", taken=is_float),
    "--memory-swap": Rule(
        "give a size such as 32g, or -1", taken=lambda text: text == "-1" or is_size(text)
    ),
}
