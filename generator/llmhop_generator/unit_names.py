"""The names of what makes up a model on a host: source, service, container, and back."""

from typing import Final

from llmhop_generator.layout import HOST

UNIT_PREFIX: Final[str] = HOST["unit_prefix"]
"""What the names of all of them begin with; the NixOS module has a drop-in for it."""
_SOURCE, _SERVICE = ".container", ".service"


def container_of(model: str) -> str:
    """The name of a model's container."""
    return UNIT_PREFIX + model


def source_file(model: str) -> str:
    """The name of a model's Quadlet source."""
    return container_of(model) + _SOURCE


def service_of(file_name: str) -> str:
    """The name of the service that Podman makes of a Quadlet source."""
    return file_name.removesuffix(_SOURCE) + _SERVICE


def source_of(service: str) -> str:
    """The name of the Quadlet source of a service."""
    return service.removesuffix(_SERVICE) + _SOURCE


def model_of(unit: str) -> str:
    """The name of the model that a source or a service stands for.

    Only what we added goes: a model may itself be called `a.service`.
    """
    return unit.rpartition(".")[0].removeprefix(UNIT_PREFIX)
