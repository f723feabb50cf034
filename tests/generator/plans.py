"""What plans are made of in tests: sources, hosts that serve them, and the turn of a model."""

from llmhop_generator.plan import make_plan
from llmhop_generator.routes import as_text
from llmhop_generator.start_note import note_of, with_note
from llmhop_generator.steps import (
    Await,
    Present,
    Route,
    Start,
    Step,
    Stop,
    Turn,
    Wanted,
)

UID = 503
A, B, C = "vllm-a.container", "vllm-b.container", "vllm-c.container"
A_SERVICE, B_SERVICE, C_SERVICE = "vllm-a.service", "vllm-b.service", "vllm-c.service"


def source(
    text: str = "", image: str = "localhost/i:1", pull: str = "newer", port: int = 18001
) -> str:
    bare = f"[Container]\nImage={image}\nPull={pull}\n{text}\n\n[Service]\n"
    return with_note(bare, "vllm-x", port)


def on(*devices: str, text: str = "") -> str:
    """A source with devices."""
    return source("\n".join([*(f"AddDevice={device}" for device in devices), text]))


def router(*models: str) -> str:
    return as_text({"listen": "127.0.0.1:8080", "models": {name: {} for name in models}})


def models(sources: dict[str, str]) -> list[str]:
    return [name[5:-10] for name in sources]


def present(
    sources: dict[str, str], run_by: dict[str, str] | None = None, **states: str
) -> Present:
    """A host that serves `sources`, each active where `states` does not say otherwise.

    `run_by` has the sources by which models were started, where they are other ones.
    """
    found = dict.fromkeys((f"vllm-{model}.service" for model in models(sources)), "active")
    found |= {f"vllm-{model}.service": state for model, state in states.items()}
    notes = {name: note_of(text) for name, text in (sources | (run_by or {})).items()}
    return Present(
        sources={UID: sources},
        states={UID: found},
        notes={name: note for name, note in notes.items() if note is not None},
        images=frozenset({"localhost/i:1"}),
        router=router(*models(sources)),
        router_runs=True,
    )


def wanted(sources: dict[str, str]) -> Wanted:
    return Wanted(UID, sources, router(*models(sources)))


def steps(to: Wanted, now: Present) -> tuple[Step, ...]:
    return make_plan(to, now).steps


def turn(model: str, hidden: tuple[str, ...] = ()) -> Turn:
    """A model that is replaced alone, the others routed to but `hidden`."""
    service = f"vllm-{model}.service"
    return Turn(
        (service,),
        (
            Route(frozenset({model, *hidden}), gone=(model,)),
            Stop(UID, (service,)),
            Start(UID, (service,)),
            Await(UID, (service,), (model,), frozenset(hidden)),
        ),
    )
