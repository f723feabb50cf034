"""What a user's Podman has of the models: their images and containers, if it can be asked."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from llmhop_generator.errors import GeneratorError
from llmhop_generator.host.podman import containers, images
from llmhop_generator.host.process import Account

RUNNING = "running"
_NOT_RUNNING = {
    "paused": "it is paused and answers nobody; `podman unpause {name}` as its user",
    "exited": "it has ended, and its service does not know it; restart the model",
    "stopped": "it has ended, and its service does not know it; restart the model",
    "created": "it was made and never started; restart the model",
    "configured": "it was made and never started; restart the model",
    "initialized": "it was made and never started; restart the model",
    "stopping": "it is being stopped",
    "removing": "it is being removed",
}
_GONE = (
    "its container is gone from Podman's storage; it serves on, but nothing checks its health; "
    "restart it"
)


@dataclass(frozen=True)
class Container:
    """A container: its image, the port that it publishes, where Podman tells, and its state.

    `state` is Podman's word for it (podman-ps(1), --filter status).
    """

    image: str
    image_id: str
    image_digest: str
    port: int | None
    state: str

    @property
    def trouble(self) -> str | None:
        """What is wrong with it, where its service is up; `{name}` stands for its name."""
        if self.state == RUNNING:
            return None
        return _NOT_RUNNING.get(self.state, f"Podman calls its state {self.state}; restart it")


@dataclass(frozen=True)
class Storage:
    """The names of images, and containers by their names.

    `unanswered` says why Podman could not be asked; there is nothing in it then.
    """

    images: frozenset[str] = frozenset()
    containers: Mapping[str, Container] = field(default_factory=dict)
    unanswered: str = ""

    def lacks(self, image: str) -> bool:
        """Whether an image is known not to be there."""
        return not self.unanswered and image not in self.images

    def trouble(self, name: str, *, is_up: bool) -> str | None:
        """What is wrong with the container of a service that is up, or that starts."""
        container = self.containers.get(name)
        if container is None:
            return _GONE if is_up and not self.unanswered else None
        if is_up or container.state == "paused":
            told = container.trouble
            return f"its container: {told.format(name=name)}" if told else None
        return None


def read_storage(account: Account) -> Storage:
    """Ask Podman for the images and containers of a user."""
    try:
        listed = images(account)
        found = containers(account)
    except GeneratorError as error:
        return Storage(unanswered=str(error))
    digests = {image["Id"]: str(image.get("Digest", "")) for image in listed}
    return Storage(
        frozenset(name for image in listed for name in image.get("Names") or []),
        {
            name: Container(
                image=container["Image"],
                image_id=container["ImageID"][:12],
                image_digest=digests.get(container["ImageID"], ""),
                port=next((port["host_port"] for port in container.get("Ports") or []), None),
                state=container["State"],
            )
            for container in found
            for name in container["Names"]
        },
    )
