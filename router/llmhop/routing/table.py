"""Decides what becomes of a request: answered here, or sent to the backend of its model.

All of it is pure: a table made from the config, a head and a body in, a decision out.
"""

from __future__ import annotations

from collections.abc import Mapping
from hmac import compare_digest

import msgspec

from llmhop.config.config import Config, ModelConfig
from llmhop.errors import (
    coded_body,
    conflicting_models,
    loop_detected,
    model_not_found,
    too_many_hops,
    unauthorized,
)
from llmhop.http.body.large_body import Body
from llmhop.http.body.urlencoded import decode_name
from llmhop.http.fields.forwarding import hyphened
from llmhop.http.fields.via import UNNAMED, count_hops
from llmhop.http.parsed_head import RequestHead
from llmhop.limits import CLIENT_BODY_S, MAX_HOPS, SWEEP_S, UPLOAD_WINDOW_S
from llmhop.routing.body_model import model_if_any, model_in
from llmhop.routing.decision import Answer, MetricsPage, ReadinessQuery, Route
from llmhop.routing.origin_policy import SITE, OriginPolicy, is_preflight, preflight_lines
from llmhop.routing.target import (
    HEALTH_PATH,
    METRICS_PATH,
    MODELS_PATH,
    READING,
    READY_PATH,
    ROUTE_PREFIX,
    NamedTarget,
    own_path,
    read_target,
)

_HEALTHY = b'{"status":"ok"}'
_NOTHING = b"{}"
_OWN_NAMES = (b"host", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host")


class RoutingTable:
    """What a config means for requests. Replaced as a whole on reload."""

    def __init__(
        self, config: Config, created: int, pseudonym: bytes = UNNAMED, machine: str = ""
    ) -> None:
        """`created` is the Unix time that /v1/models gives for every model.

        `pseudonym` is what llmhop calls itself in Via, in lower case; requests that name it have
        come in a loop. `machine` is the name of this host. `upload_bytes` of a request's body must
        come in each `upload_window`.
        """
        self.pseudonym = pseudonym
        self.max_body_bytes = config.max_body_bytes
        rate = config.min_upload_rate
        self.upload_window = UPLOAD_WINDOW_S if rate else CLIENT_BODY_S
        # The clock of deadlines may be behind by a sweep.
        self.upload_bytes = max(1, int(rate * (UPLOAD_WINDOW_S - SWEEP_S)))
        self.routes: Mapping[str, Route] = _routes(config.models)
        self._tokens = [token.encode() for token in config.auth_tokens]
        self.has_auth = bool(self._tokens)
        self.origins = OriginPolicy(config, machine)
        entries = {name: _model_entry(name, created) for name in config.models}
        self.listed = frozenset(name for name, m in config.models.items() if not m.unlisted)
        listed = [entries[name] for name in config.models if name in self.listed]
        self._models = {name: msgspec.json.encode(entry) for name, entry in entries.items()}
        self._list = msgspec.json.encode({"object": "list", "data": listed})

    def authorize(self, head: RequestHead, on_loopback: bool) -> None:
        """Raise ApiError (401, 403) unless the request may pass.

        `on_loopback` is what `OriginPolicy.admit` has to know.
        """
        if on_loopback or head.origin is not None or SITE in head.names:
            self.origins.admit(head, on_loopback)
        if not self._knows(head.bearer) and not _is_open(head):
            raise unauthorized()

    def _knows(self, token: bytes | None) -> bool:
        if not self.has_auth:
            return True
        matches = 0
        if token is not None:
            # Every token is compared, so that the time says nothing about which one was near.
            for known in self._tokens:
                matches += compare_digest(token, known)
        return matches > 0

    def decide(
        self, head: RequestHead, body: Body
    ) -> Answer | MetricsPage | ReadinessQuery | Route:
        """Return what becomes of an authorized request. Raises ApiError (400, 404, 413,
        415, 508).

        A model in the path wins over one in the query, and that over one in the body; two that
        differ are an error, so that no two readers of a request take it for different models.
        """
        decision = self._own_endpoint(head)
        if decision is not None:
            return decision
        named = self._examine(head, has_body=bool(body))
        if named is None:
            return self._route_of(model_in(head, body))
        return self._by_target(named, model_if_any(head, body))

    def decide_by_head(self, head: RequestHead) -> Answer | MetricsPage | ReadinessQuery | None:
        """Return what answers an authorized request, whatever its body is.

        None where the body counts. Raises what `decide` does for any body: ApiError (400, 404, 415,
        508).
        """
        decision = self._own_endpoint(head)
        if decision is None:
            self._examine(head, has_body=True)
        return decision

    def _own_endpoint(self, head: RequestHead) -> Answer | MetricsPage | ReadinessQuery | None:
        if head.method in READING:
            path = own_path(head.path)
            if path == HEALTH_PATH:
                return Answer(_HEALTHY)
            if path == READY_PATH:
                return self._ready(head)
            if path == METRICS_PATH:
                return MetricsPage()
            if path == MODELS_PATH:
                return Answer(self._list)
            if path.startswith(MODELS_PATH + b"/"):
                return self._describe(path[len(MODELS_PATH) + 1 :])
        if head.origin is not None and is_preflight(head):
            return Answer(b"", 204, preflight_lines(head))
        if head.last_hop:
            return Answer(_NOTHING)
        return None

    def _examine(self, head: RequestHead, has_body: bool) -> NamedTarget | None:
        """Return the target, if it names a model. Raises ApiError for what no body can mend."""
        if head.via:
            self._check_loop(head)
        if head.coded and has_body:
            raise coded_body()
        if len(head.target) == len(head.path) and not head.path.startswith(ROUTE_PREFIX):
            return None
        named = read_target(head.target)
        if not named.names:
            return None
        self._named_route(named.names)
        return named

    def decide_by_target(self, head: RequestHead) -> Route | None:
        """Return the route that the target of a form names, or None.

        Raises ApiError (404), and for any form in a content coding (415), that came in a loop or
        through too many llmhops (508).
        """
        self._check_loop(head)
        if head.coded:
            raise coded_body()
        named = read_target(head.target)
        return self._by_target(named, None) if named.names else None

    def decide_form(self, head: RequestHead, model: str) -> Route:
        """Return the route of a form that names `model`, as `decide` does for other bodies."""
        named = read_target(head.target)
        if named.names:
            return self._by_target(named, model)
        return self._route_of(model)

    def _ready(self, head: RequestHead) -> ReadinessQuery:
        detailed = self._knows(head.bearer)
        named = [field.value for field in read_target(head.target).in_query]
        if not named:
            return ReadinessQuery(detailed)
        self._check_loop(head)
        for other in named[1:]:
            if other != named[0]:
                raise conflicting_models(named[0], other)
        route = self.routes.get(named[0])
        if route is None and detailed:
            raise model_not_found(named[0])
        # Without a token, what is not there looks like what is down.
        hops = count_hops(head.via) if head.via_llmhop else 0
        return ReadinessQuery(detailed, "" if route is None else route.model, hops)

    def _check_loop(self, head: RequestHead) -> None:
        if self.pseudonym in head.via:
            raise loop_detected()
        if head.via_llmhop and count_hops(head.via) >= MAX_HOPS:
            raise too_many_hops()

    def _route_of(self, model: str) -> Route:
        route = self.routes.get(model)
        if route is None:
            raise model_not_found(model)
        return route

    def _by_target(self, named: NamedTarget, in_body: str | None) -> Route:
        """Return the route that path or query name."""
        route = self._named_route(named.names if in_body is None else [*named.names, in_body])
        renames = in_body is not None and in_body != route.model
        return msgspec.structs.replace(
            route, target=named.named_in_query(route.model), renames=renames
        )

    def _named_route(self, names: list[str]) -> Route:
        """Return the route of the first name, which all must agree with."""
        first, *others = names
        route = self.routes.get(first)
        for name in others:
            other = self.routes.get(name)
            if name != first and (route is None or other is None or other.model != route.model):
                raise conflicting_models(first, name)
        if route is None:
            raise model_not_found(first)
        return route

    def _describe(self, quoted: bytes) -> Answer:
        # Names may hold slashes ("Qwen/Qwen2.5-7B"), sent as they are or as %2F.
        return Answer(self._models[self._route_of(decode_name(quoted)).model])


def _is_open(head: RequestHead) -> bool:
    if is_preflight(head):  # browsers send no token in it
        return True
    return head.method in READING and own_path(head.path) in (HEALTH_PATH, READY_PATH)


def _routes(models: Mapping[str, ModelConfig]) -> dict[str, Route]:
    routes = {name: _route(name, model) for name, model in models.items()}
    aliases = {alias: name for name, model in models.items() for alias in model.aliases}
    renaming = {
        alias: msgspec.structs.replace(routes[name], renames=True)
        for alias, name in aliases.items()
    }
    return {**renaming, **routes}


def _route(name: str, model: ModelConfig) -> Route:
    lines = [f"{header}: {value}\r\n".encode() for header, value in model.headers]
    overridden = frozenset(hyphened(header.lower().encode()) for header, _ in model.headers)
    return Route(
        model=name,
        config=model,
        hosts=tuple(url.authority.encode() for url in model.urls),
        overridden=overridden,
        overrides_own=not overridden.isdisjoint(_OWN_NAMES),
        header_lines=b"".join(lines) + b"\r\n",
    )


def _model_entry(name: str, created: int) -> dict[str, object]:
    return {"id": name, "object": "model", "created": created, "owned_by": "llmhop"}
