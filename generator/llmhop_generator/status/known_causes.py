"""Causes by which models do not come up, known by the words that are written of them.

docs/operations.md lists the same ones.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Known:
    """A cause by its name, the pattern of its words, and the way out."""

    name: str
    words: re.Pattern[str]
    advice: str


def _known(name: str, words: str, advice: str) -> Known:
    return Known(name, re.compile(words, re.IGNORECASE), advice)


# The first that matches counts, so what is told apart by less comes later.
KNOWN = (
    _known(
        "condition of the unit not met",
        r"^(Condition|Assert|ExecCondition).*, so systemd did not start it$",
        "bring about what unitConfig or serviceConfig ask for there and apply again, or change it",
    ),
    _known(
        "program of the unit missing",
        r"Failed at step EXEC spawning",
        "correct the key of serviceConfig that names it, or install it",
    ),
    _known(
        "user or group of the unit",
        r"Failed at step (USER|GROUP) spawning",
        "leave User, Group and SupplementaryGroups out of serviceConfig: the models run as `user`, "
        "whose manager can't start anything as another one",
    ),
    _known(
        "key of the unit that can't be carried out",
        r"Failed at step [A-Z_]+ spawning|^Failed to load environment files",
        "correct it in serviceConfig; systemd.exec(5) names the key of each step",
    ),
    _known(
        "command of the unit failed",
        r"^a command of the unit ended with",
        "correct ExecStartPre or ExecStartPost in serviceConfig, or what it looks for",
    ),
    _known(
        "no such model",
        r"RepositoryNotFound|RevisionNotFound|HFValidationError|Repo id must|"
        r"Invalid repository ID or local directory|not a valid model identifier|"
        r"not a local folder|EntryNotFoundError: 404|404 Client Error",
        "correct the option `model`; a directory must be one that the container sees",
    ),
    _known(
        "no licence or token",
        r"GatedRepo|gated repo|\b40[13] Client Error|40[13] Unauthorized|Invalid user token",
        "accept the model's licence at its publisher, and give HF_TOKEN in an environmentFile",
    ),
    _known(
        "model not downloaded",
        r"LocalEntryNotFound|OfflineModeIsEnabled|couldn't connect to 'https://|"
        r"couldn't find (it|them) in the cached files|(huggingface|hf)\.co.*(Max retries|resol)|"
        r"(Connect|Connection|MaxRetry)Error.*(Max retries|resol|unreachable)|"
        r"ConnectError: .*(resol|unreachable|No address)",
        "let this host reach the model's publisher, or download the model into cacheDir",
    ),
    _known(
        "disk full",
        r"No space left on device|Disk quota exceeded",
        "make room where dataDir and cacheDir are; in /dev/shm it is shmSize",
    ),
    _known(
        "too little free memory",
        r"(Free|Available) memory on (device|node)|desired [GC]PU memory utilization",
        "end what else uses that memory, or set a smaller gpu-memory-utilization for each model of "
        "that GPU",
    ),
    _known(
        "KV cache too small",
        r"No available memory for the cache blocks|KV cache is needed|"
        r"larger than the (available KV cache|maximum number of tokens that can be stored)",
        "a smaller max-model-len, or a larger gpu-memory-utilization where the GPU has room",
    ),
    _known(
        "out of memory on the GPU",
        r"OutOfMemoryError|(CUDA|HIP|XPU) out of memory|CUDA error: out of memory",
        "a smaller gpu-memory-utilization, max-model-len or max-num-seqs, or a GPU for each model",
    ),
    _known(
        "context too long",
        r"max_model_len \([\d.]+\) is greater than",
        "a max-model-len of at most what the model was made for",
    ),
    _known(
        "unknown flag",
        r"unrecognized arguments",
        "correct the setting, or compare `tag` with vLLM's documentation: this one lacks it",
    ),
    _known(
        "bad value of a flag",
        r"\bargument -\S+:|Value .* cannot be converted|Unknown quantization method|"
        r"^UsageError: |^TypeError: Error: --",
        "correct the setting",
    ),
    _known(
        "architecture unknown to this vLLM",
        r"architectures? .*(not supported|not recogni[sz]ed)|not recogni[sz]e this architecture|"
        r"has no vLLM implementation",
        "a newer `tag`, or another model",
    ),
    _known(
        "the model brings code of its own",
        r"trust_remote_code|trust-remote-code",
        "set trust-remote-code where you trust it",
    ),
    _known(
        "files of the model broken or missing",
        r"SafetensorError|not a valid JSON file|line \d+ column \d+ \(char \d+\)|"
        r"Cannot find any model weights|"
        r"HeaderTooLarge|InvalidHeader|does(n't| not) appear to have a file named|"
        r"Can't load (the configuration|tokenizer|image processor)|no file named|"
        r"Couldn't instantiate the backend tokenizer",
        "download the model again: remove it from cacheDir, or copy its directory anew",
    ),
    _known(
        "no device",
        r"unresolvable CDI device|No CUDA GPUs are available|Failed to infer device type|"
        r"Found no NVIDIA driver|stat /dev/|no (ROCm|CUDA)-capable device|libcuda\.so",
        "`llmhop-generator check CONFIG` names the devices that there are; see `devices`",
    ),
    _known(
        "driver and image do not fit",
        r"CUDA driver version is insufficient|no kernel image is available|"
        r"driver on your system is too old|CUDA error: .*(unsupported|forward compatibility)",
        "update the GPU's driver, or choose a `tag` that was built for it",
    ),
    _known(
        "port in use",
        r"Address already in use|Errno 98|Failed to bind port|port is already allocated",
        "another program has it: choose another `port`, or end that program",
    ),
    _known(
        "out of memory on the host",
        r"OOM killer|core proc\(s\): \{[^}]*: -9\b|died with .*SIGKILL",
        "more memory, or fewer or smaller models; see also MemoryMax in serviceConfig",
    ),
    _known(
        "Podman's configuration broken",
        r"^Failed to obtain podman configuration",
        "correct the file, in /etc/containers or below ~/.config/containers of the models' user",
    ),
    _known(
        "Podman has lost its containers",
        r"could not find any running process",
        "the models' manager was killed: `llmhop-generator apply CONFIG` starts it afresh",
    ),
    _known(
        "no such image",
        r"manifest unknown|initializing source|pinging container registry|"
        r"reading manifest|image not known|name unknown|requested access to the resource is denied|"
        r"short-name .* did not resolve",
        "correct `image`, `tag` or `digest`; else the network or a login is missing",
    ),
    _known(
        "too slow",
        r"start timed out|start operation timed out",
        "see the last lines of `llmhop-generator logs NAME`; TimeoutStartSec in serviceConfig "
        "gives it more time",
    ),
    _known(
        "no sign of life",
        r"no sign of life within WatchdogSec",
        "leave WatchdogSec out of serviceConfig: Podman's health checks see to it that it answers",
    ),
    _known(
        "crashed",
        r"^it was ended by SIG(ABRT|BUS|FPE|ILL|SEGV|SYS|TRAP)\b",
        "another `tag`; see whether it fits the driver and the CPU",
    ),
    _known(
        "killed",
        r"^it was ended by ",
        "somebody or something sent that signal: Podman kills what fails its health checks, and "
        "`journalctl -k` has what the kernel killed for want of memory",
    ),
    _known(
        "ended by itself",
        r"^it ended before it was healthy, without an error",
        "an engine has to run on: see what Exec or Entrypoint in containerConfig and the image run",
    ),
    _known(
        "command of the image can't be run",
        r"^the command of its container (can't be run|is not there)",
        "see that the image is one of vLLM, and made for this host's CPU",
    ),
    _known(
        "started too often",
        r"^it was started too often",
        "once it is mended, apply again or restart it",
    ),
    _known(
        "no permission",
        r"Permission denied|PermissionError",
        "let the user of the models read it; root in the container is that user outside",
    ),
    _known(
        "no such file on the host",
        r"^(l?stat|statfs|open) /\S+: no such file",
        "Podman reads it on this host: put it there, or correct environmentFile or what else "
        "names it",
    ),
    _known(
        "no such file",
        r"No such file or directory|FileNotFoundError|appears path-like, but doesn't exist",
        "a path must be one that the container sees: add the Volume to containerConfig",
    ),
)


def known(words: str) -> Known | None:
    """The known cause that some words stand for, or None."""
    return next((cause for cause in KNOWN if cause.words.search(words)), None)
