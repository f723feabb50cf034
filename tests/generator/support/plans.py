"""What plans are made of in tests: sources, hosts that serve them, and the batch of a model."""

from llmhop_generator.planning.planner import make_plan
from llmhop_generator.planning.steps import (
    Await,
    Batch,
    Present,
    Reload,
    Route,
    Stage,
    Start,
    Step,
    Stop,
    Swap,
    Wanted,
)
from llmhop_generator.render.start_note import note_of, with_note
from llmhop_generator.router.routes import Routing, as_text, local_url

UID = 503
A, B, C = "vllm-a.container", "vllm-b.container", "vllm-c.container"
A_SERVICE, B_SERVICE, C_SERVICE = "vllm-a.service", "vllm-b.service", "vllm-c.service"


PORTS = {"a": 18001, "b": 18002, "c": 18003}


def source(
    text: str = "", image: str = "localhost/i:1", pull: str = "newer", port: int = 18001
) -> str:
    keys = f"Image={image}\nPull={pull}\nPublishPort=127.0.0.1:{port}:8000\n{text}"
    return with_note(f"[Unit]\n\n[Container]\n{keys}\n\n[Service]\n")


def on(*devices: str, text: str = "", port: int = 18001) -> str:
    """A source with devices."""
    return source("\n".join([*(f"AddDevice={device}" for device in devices), text]), port=port)


def served(models: str, text: str = "") -> dict[str, str]:
    """The sources of some models, each at its own port."""
    return {f"vllm-{m}.container": source(text, port=PORTS[m]) for m in models}


def router(sources: dict[str, str], **settings: object) -> str:
    """llmhop's configuration with a route to each of some sources."""
    models = {model: {"url": local_url(port)} for model, port in ports(sources).items()}
    return as_text({"listen": "127.0.0.1:8080", **settings, "models": models})


def ports(sources: dict[str, str]) -> dict[str, int]:
    """The ports of some sources, by model."""
    notes = {name[5:-10]: note_of(text) for name, text in sources.items()}
    return {model: note.port for model, note in notes.items() if note is not None}


def present(
    sources: dict[str, str], run_by: dict[str, str] | None = None, **states: str
) -> Present:
    """A host that serves `sources`, each active where `states` does not say otherwise.

    `run_by` has the sources by which models were started, where they are other ones.
    """
    found = dict.fromkeys((f"vllm-{model}.service" for model in ports(sources)), "active")
    found |= {f"vllm-{model}.service": state for model, state in states.items()}
    notes = {name: note_of(text) for name, text in (sources | (run_by or {})).items()}
    return Present(
        sources={UID: sources},
        states={UID: found},
        notes={name: note for name, note in notes.items() if note is not None},
        images=frozenset({"localhost/i:1"}),
        router=router(sources | (run_by or {})),
        router_runs=True,
    )


def wanted(sources: dict[str, str]) -> Wanted:
    return Wanted(UID, sources, router(sources))


def steps(to: Wanted, now: Present, *, wait: bool = True) -> tuple[Step, ...]:
    return make_plan(to, now, wait=wait).steps


def batch(
    model: str,
    text: str | None,
    then: dict[str, int],
    hidden: tuple[str, ...] = (),
) -> Batch:
    """A model that is replaced alone by the unit `text`, where its own is not there yet.

    The others are routed to but `hidden`; `then` are the ports before.
    """
    service = f"vllm-{model}.service"
    write: list[Step] = [Stage(UID, write={f"vllm-{model}.container": text})] if text else []
    swap: list[Step] = [Swap(UID), Reload(UID)] if text else []
    return Batch(
        (service,),
        (
            *write,
            Route(Routing(then, frozenset({model, *hidden})), gone=(model,)),
            Stop(UID, (service,)),
            *swap,
            Start(UID, (service,)),
            Await(UID, (service,), (model,)),
        ),
    )
