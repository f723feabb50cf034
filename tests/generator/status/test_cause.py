"""What is told of a model that does not come up, from what was written of its start.

`support/engine_output` holds what a real vLLM printed, shortened: 0.32.0 on the CPU, and in the
files that name an earlier version lines as that one writes them on GPUs.
"""

import json
from pathlib import Path

import pytest
from llmhop_generator.status import journal
from llmhop_generator.status.cause import Cause, cause_of, last_cause
from llmhop_generator.status.journal import Record, Start
from llmhop_generator.status.known_causes import KNOWN

OUTPUT = Path(__file__).parents[1] / "support/engine_output"
OPERATIONS = Path(__file__).parents[3] / "docs/operations.md"


def printed(text: str) -> list[Record]:
    fields = {"CONTAINER_NAME": "vllm-a", "_COMM": "conmon"}
    return [Record.parse(json.dumps({"MESSAGE": each, **fields})) for each in text.splitlines()]


def noise() -> list[Record]:
    """What Podman, conmon and systemd write around every start, last of all."""
    return [
        Record("2026-11-27 15:54:05 +0000 UTC m=+0.3 container remove c740c66 (name=a)", "podman"),
        Record("conmon c740 <nwarn>: Failed to open cgroups file: /sys/fs/cgroup/x", "conmon"),
        Record("Couldn't get any nameserver address", "pasta.avx2"),
        Record("a.service: Main process exited, code=exited, status=1/FAILURE", "systemd"),
        Record("a.service: Failed with result 'exit-code'.", "systemd", about=journal.FAILED),
    ]


def told(text: str) -> Cause:
    found = cause_of(Start(failed=True, records=[*printed(text), *noise()]))
    assert found is not None
    return found


# The name of the output, of the cause where it has one, and words that the true line has.
OUTPUTS = [
    ("bad-flag", "unknown flag", "unrecognized arguments: --max-model-length=128"),
    ("bad-dtype", "bad value of a flag", "argument --dtype: invalid choice: 'bf17'"),
    ("context", "context too long", "User-specified max_model_len (999999) is greater than"),
    ("missing-offline", "model not downloaded", "LocalEntryNotFoundError: Cannot find an"),
    ("bad-config", "files of the model broken or missing", "is not a valid JSON file"),
    ("port", "port in use", "[Errno 98] Address already in use"),
    ("no-weights", "files of the model broken or missing", "Cannot find any model weights"),
    ("memory", "too little free memory", "Available memory on node 0 (20.6/23.54 GiB) on"),
    ("no-network", "model not downloaded", "We couldn't connect to 'https://huggingface.co'"),
    ("no-path", "no such model", "Repo id must be in the form"),
    ("empty-directory", "no such model", "Invalid repository ID or local directory specified"),
    ("bad-weights", "files of the model broken or missing", "Unterminated string starting at"),
    ("own-code", "the model brings code of its own", "contains custom code which must be"),
    ("bad-json", "bad value of a flag", "argument --speculative-config/-sc: Value {"),
    ("tool-parser", "bad value of a flag", "--enable-auto-tool-choice requires --tool-call-"),
    ("chat-template", "no such file", "(/no/template.jinja) appears path-like, but doesn't"),
    ("model-type", "architecture unknown to this vLLM", "has model type `qwen99` but Transf"),
    ("too-many-gpus", None, "Total number of attention heads (2) must be divisible by tensor"),
    ("quantization", None, "Cannot find the config file for awq"),
    ("architecture", "architecture unknown to this vLLM", "['Qwen99ForCausalLM'] are not supp"),
]


@pytest.mark.parametrize(("name", "cause", "words"), OUTPUTS, ids=[each[0] for each in OUTPUTS])
def test_the_cause_is_found_in_what_vllm_printed(name: str, cause: str | None, words: str) -> None:
    found = told((OUTPUT / f"{name}.txt").read_text(encoding="utf-8"))
    assert (found.known.name if found.known else None) == cause
    assert words in found.said


def test_every_output_is_in_the_table() -> None:
    assert {path.stem for path in OUTPUT.glob("*.txt")} == {each[0] for each in OUTPUTS}


FRAME = """\
  File "/usr/local/lib/python3.12/dist-packages/vllm/v1/engine/core.py", line 506, in run
    raise it
    ^^^^^^^^
"""
CORE = "(EngineCore_DP0 pid=92) ERROR 09-28 15:47:24 [core.py:718] "
POINTER = (
    "RuntimeError: Engine core initialization failed. See root cause above. "
    "Failed core proc(s): {'EngineCore_DP0': 1}"
)


def traceback(raised: str, prefix: str = "") -> str:
    text = f"Traceback (most recent call last):\n{FRAME}{raised}\n"
    return "".join(f"{prefix}{line}\n" for line in text.splitlines())


def failed_core(raised: str, core: str = CORE, process: str = "(EngineCore_DP0 pid=92) ") -> str:
    """What vLLM prints where its engine process fails: there twice, and of it in the server."""
    return (
        f"{core}EngineCore failed to start.\n"
        + traceback(raised, core)
        + f"{process}Process EngineCore_DP0:\n"
        + traceback(raised, process)
        + traceback(POINTER, "(APIServer pid=1) ")
    )


# What other versions and GPUs say of it, in the words of public reports.
SAID = [
    (
        "too little free memory",
        "ValueError: Free memory on device (3.22/4.0 GiB) on startup is less than desired GPU "
        "memory utilization (0.9, 3.6 GiB). Decrease GPU memory utilization or reduce GPU memory "
        "used by other processes.",
    ),
    (
        "KV cache too small",
        "ValueError: To serve at least one request with the models's max seq len (262144), (24.0 "
        "GiB KV cache is needed, which is larger than the available KV cache memory (3.18 GiB).",
    ),
    (
        "KV cache too small",
        "ValueError: The model's max seq len (4096) is larger than the maximum number of tokens "
        "that can be stored in KV cache (3664). Try increasing `gpu_memory_utilization`",
    ),
    (
        "KV cache too small",
        "ValueError: No available memory for the cache blocks. Try increasing "
        "`gpu_memory_utilization` when initializing the engine.",
    ),
    (
        "out of memory on the GPU",
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.88 GiB. GPU 3 has a total "
        "capacity of 21.96 GiB of which 1.29 GiB is free.",
    ),
    (
        "no licence or token",
        "OSError: You are trying to access a gated repo.\n"
        "Make sure to have access to it at https://huggingface.co/meta-llama/Llama-3.2-1B.\n"
        "401 Client Error. (Request ID: Root=1-695139c1-20c276683bbfa05022511a7b)\n"
        "\n"
        "Cannot access gated repo for url https://huggingface.co/meta-llama/Llama-3.2-1B.",
    ),
    (
        "no licence or token",
        "huggingface_hub.errors.GatedRepoError: 403 Client Error. (Request ID: Root=1-6735bc0f)",
    ),
    (
        "no such model",
        "huggingface_hub.errors.RepositoryNotFoundError: 401 Client Error. (Request ID: Root=1)",
    ),
    (
        "model not downloaded",
        "OSError: We couldn't connect to 'https://huggingface.co' to load the files, and couldn't "
        "find them in the cached files.",
    ),
    ("disk full", "OSError: [Errno 28] No space left on device"),
    ("no device", "RuntimeError: No CUDA GPUs are available"),
    ("no device", "RuntimeError: Failed to infer device type, please set the environment"),
    (
        "driver and image do not fit",
        "RuntimeError: CUDA error: no kernel image is available for execution on the device",
    ),
]


@pytest.mark.parametrize(("name", "said"), SAID)
@pytest.mark.parametrize("where", ["core", "older core", "server"])
def test_a_cause_is_known_wherever_it_is_raised(name: str, said: str, where: str) -> None:
    text = {
        "core": failed_core(said),
        "older core": failed_core(said, "ERROR 06-30 13:53:19 [core.py:515] ", ""),
        "server": traceback(said),
    }[where]
    found = told(text)
    assert found.known is not None, found
    assert found.known.name == name
    kind, _, message = said.splitlines()[0].partition(": ")
    assert found.said == f"{kind.rpartition('.')[2]}: {message}"


def test_the_process_that_failed_of_several_is_reported() -> None:
    workers = [f"(VllmWorker rank={n} pid={n}) ERROR 08-12 01:36:10 [worker.py:5] " for n in (0, 1)]
    torn = [traceback("KeyError: 'first'", worker).splitlines() for worker in workers]
    torn[1] = [line.replace("'first'", "'second'") for line in torn[1]]
    mixed = "".join(f"{line}\n" for pair in zip(*torn, strict=True) for line in pair)
    pointer = "Exception: WorkerProc initialization failed due to an exception in a background "
    pointer += "process. See stack trace for root cause."
    found = told(mixed + failed_core(pointer))
    assert found == Cause("KeyError: 'second'")


@pytest.mark.parametrize(
    "process",
    [
        "(EngineCore_DP0 pid=92) ",
        "(VllmWorker-0 pid=27) ",
        "(VllmWorker rank=5 pid=3073) ",
        "(RayWorkerWrapper pid=7, ip=10.0.0.2) ",
        "(EngineCore pid=14) (Worker_TP0 pid=27) ",
        "\x1b[0;36m(APIServer pid=1)\x1b[0;0m ",
        "[rank0]: ",
        "",
    ],
)
@pytest.mark.parametrize(
    "logged",
    [
        "",
        "ERROR 11-27 16:28:30 [multiproc_executor.py:953] ",
        "ERROR 12-29 07:45:20 multiproc_worker_utils.py:236] ",
        "[Stage-0] ERROR 03-12 08:22:28 [v1/engine/core.py:800] ",
        "\x1b[31mERROR\x1b[0m \x1b[90m06-16 20:55:14\x1b[0m \x1b[90m[core.py:1224]\x1b[0m ",
    ],
)
def test_the_names_of_processes_and_of_logs_do_not_matter(process: str, logged: str) -> None:
    found = told(traceback("KeyError: 'rope'", process + logged))
    assert found == Cause("KeyError: 'rope'")


CHAINS = ["During handling of the above exception, another exception occurred:"]
CHAINS += ["The above exception was the direct cause of the following exception:"]


@pytest.mark.parametrize("link", CHAINS)
@pytest.mark.parametrize("prefix", ["", CORE, "(APIServer pid=1) "])
def test_a_chain_is_told_with_its_root(link: str, prefix: str) -> None:
    chain = traceback("KeyError: 'rope'", prefix) + f"{prefix}\n{prefix}{link}\n{prefix}\n"
    chain += traceback("ValueError: rope_scaling is malformed", prefix)
    found = told(chain + traceback(POINTER, "(APIServer pid=1) "))
    assert found.said == "ValueError: rope_scaling is malformed, because of KeyError: 'rope'"


def test_the_root_of_a_chain_of_exceptions_is_reported() -> None:
    chain = traceback("KeyError: 'rope'") + f"\n{CHAINS[1]}\n\n" + traceback(POINTER)
    assert told(chain).said == "KeyError: 'rope'"


def test_what_is_logged_after_an_exception_is_no_part_of_it() -> None:
    later = CORE.replace("core.py:718", "core.py:800").replace("ERROR", "INFO")
    found = told(traceback("ValueError: wrong:", CORE) + f"{later}closing\n")
    assert found.said == "ValueError: wrong:"


def test_a_known_cause_counts_wherever_it_stands_in_a_chain() -> None:
    chain = traceback("torch.OutOfMemoryError: CUDA out of memory.") + f"\n{CHAINS[1]}\n\n"
    chain += traceback("RuntimeError: warming up the sampler failed")
    found = told(chain)
    assert found.said == "OutOfMemoryError: CUDA out of memory."


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("INFO 1\nERROR:    [Errno 98] error while attempting to bind\nINFO 2", "[Errno 98] error"),
        (f"{CORE}it is broken\n(APIServer pid=1) INFO 09-28 15:47:24 [x.py:1] bye", "it is broken"),
        ("standin: told to fail\n\n", "standin: told to fail"),
        ("Exception ignored in: <f>\n" + traceback("TypeError: late") + "last", "last"),
        (traceback("SystemExit: 1") + "ERROR: true", "true"),
        (
            "\x1b[31m" + traceback("ValueError: red", "\x1b[0;36m(EngineCore pid=3)\x1b[0;0m "),
            "Val",
        ),
        ("[rank0]: Traceback (most recent call last):\n[rank0]:   File x\n[rank0]: A: b", "A: b"),
        ("(Worker pid=2) [Stage-0] ERROR 03-12 08:22:28 [m.py:8] words", "words"),
        ("ERROR 12-29 07:45:20 worker_utils.py:236] old words", "old words"),
        ("x, " + traceback("RuntimeError"), "RuntimeError"),
    ],
)
def test_what_is_not_known_is_told_by_the_line_that_says_it(text: str, said: str) -> None:
    assert told(text).said.startswith(said)


@pytest.mark.parametrize(
    ("lines", "cause", "said"),
    [
        (
            ["Error: setting up CDI devices: unresolvable CDI devices nvidia.com/gpu=7"],
            "no device",
            "setting up CDI devices: unresolvable CDI devices nvidia.com/gpu=7",
        ),
        (
            ["Error: pasta failed with exit code 1:", "Failed to bind port 18001 (Address in use)"],
            "port in use",
            "pasta failed with exit code 1: Failed to bind port 18001 (Address in use)",
        ),
        (
            ["Error: open /etc/a.env: no such file or directory"],
            "no such file on the host",
            "open /etc/a.env: no such file or directory",
        ),
        (
            ["Error: statfs /nowhere/x: no such file or directory"],
            "no such file on the host",
            "statfs /nowhere/x: no such file or directory",
        ),
        (
            ["Error: one:", "Error: initializing source docker://r/i:1: name unknown"],
            "no such image",
            "initializing source docker://r/i:1: name unknown",
        ),
    ],
)
def test_without_a_container_podman_tells(lines: list[str], cause: str, said: str) -> None:
    records = [each for line in lines for each in (Record(line, "podman"), *noise())]
    found = cause_of(Start(failed=True, records=records))
    assert found is not None
    assert found.known is not None
    assert (found.known.name, found.said) == (cause, said)


def test_what_systemd_did_is_told_where_the_engine_said_nothing_of_it() -> None:
    killed = Record(
        "a.service: A process of this unit has been killed by the OOM killer.", "systemd"
    )
    records = [*printed("(APIServer pid=1) INFO 11-27 16:09:04 [x.py:7] Loading"), killed]
    found = cause_of(Start(failed=True, records=records))
    assert found is not None
    assert found.known is not None
    assert found.known.name == "out of memory on the host"


def test_a_process_that_was_killed_is_told_by_the_one_that_waited_for_it() -> None:
    found = told(traceback(POINTER.replace(": 1}", ": -9}"), "(APIServer pid=1) "))
    assert found.known is not None
    assert found.known.name == "out of memory on the host"


def test_nothing_is_told_where_nothing_is_said() -> None:
    assert cause_of(Start(records=noise())) is None
    assert last_cause([]) is None


def test_the_documentation_has_every_known_cause() -> None:
    text = OPERATIONS.read_text(encoding="utf-8")
    rows = {line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")}
    assert {known.name for known in KNOWN} <= rows
