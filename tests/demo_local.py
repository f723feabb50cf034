"""The demo without root: the example's models on stand-in engines, behind the real llmhop."""

import json
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from time import monotonic, sleep
from urllib.error import URLError
from urllib.request import urlopen

from openai import OpenAI

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
EXAMPLE = ROOT / "examples/minimal.json"
ENGINE = ROOT / "tests/images/standin/vllm.py"
PATIENCE_S = 30


def main() -> None:
    """Render the example, start what it describes, chat, and end it all."""
    config = json.loads(EXAMPLE.read_text(encoding="utf-8"))
    models = {name: m for name, m in config["vllm"]["models"].items() if m.get("enable", True)}
    *ports, listen = free_ports(len(models) + 1)
    for model, port in zip(models.values(), ports, strict=True):
        model["port"] = port
    config["llmhop"] = {"enable": True, "settings": {"listen": f"127.0.0.1:{listen}"}}

    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="llmhop-demo-")))
        source = directory / "config.json"
        source.write_text(json.dumps(config), encoding="utf-8")
        print(f"$ llmhop-generator render {EXAMPLE.name} --output DIR")
        subprocess.run(
            [BIN / "llmhop-generator", "render", source, "--output", directory / "out"], check=True
        )
        for path in sorted((directory / "out").rglob("*.*")):
            if path.is_file():
                print(f"  {path.relative_to(directory / 'out')}")

        for name, model in models.items():
            command = [sys.executable, ENGINE, "serve", model["model"]]
            command += [f"--served-model-name={name}", f"--port={model['port']}"]
            start(stack, command, f"http://127.0.0.1:{model['port']}/health", quiet=True)
        print("\n$ llmhop --config DIR/llmhop.json")
        base = f"http://127.0.0.1:{listen}"
        start(stack, [BIN / "llmhop", "--config", directory / "out/llmhop.json"], f"{base}/health")

        client = OpenAI(base_url=f"{base}/v1", api_key="none")
        print(f"\nmodels at {base}/v1: {', '.join(model.id for model in client.models.list())}")
        for name in models:
            chat(client, name)


def chat(client: OpenAI, model: str) -> None:
    """Ask one model, and print its answer as it streams in."""
    question = "What do you serve?"
    print(f"\n{model} < {question}\n{model} > ", end="", flush=True)
    stream = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": question}], stream=True
    )
    for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            print(chunk.choices[0].delta.content, end="", flush=True)
    print()


def start(stack: ExitStack, command: list[str | Path], health: str, *, quiet: bool = False) -> None:
    """Start a server, see it healthy, and leave its end to the stack."""
    output = subprocess.DEVNULL if quiet else None
    process = subprocess.Popen(command, stdout=output, stderr=output)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    deadline = monotonic() + PATIENCE_S
    while True:
        try:
            with urlopen(health, timeout=1):  # noqa: S310 - a URL of our own
                return
        except (URLError, OSError):
            if process.poll() is not None or monotonic() > deadline:
                sys.exit(f"{command[0]} did not start")
            sleep(0.05)


def free_ports(count: int) -> list[int]:
    """Find ports on loopback that nothing listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]


if __name__ == "__main__":
    main()
