"""Decides what becomes of a request: answered here, or sent to the backend of its model.

All of it is pure: a table made from the config, a head and a body in, a decision out.
"""

from __future__ import annotations

from collections.abc import Mapping
from hmac import compare_digest

import msgspec

from llmhop.config.config import Config
from llmhop.config.tables.control_paths import ANY_PATH, METRICS, find_control_path, leads_on
from llmhop.config.tables.model import ModelConfig
from llmhop.errors import (
    coded_body,
    conflicting_models,
    loop_detected,
    model_not_allowed,
    model_not_found,
    path_not_allowed,
    too_many_hops,
    unauthorized,
)
from llmhop.http.anthropic import is_of_anthropic, model_entry, model_list
from llmhop.http.body.large_body import Body
from llmhop.http.body.urlencoded import decode_name
from llmhop.http.fields.forwarding import hyphened
from llmhop.http.fields.via import UNNAMED, count_hops
from llmhop.http.parsed_head import RequestHead
from llmhop.limits import CLIENT_BODY_S, MAX_HOPS, SWEEP_S, UPLOAD_WINDOW_S
from llmhop.routing.body_model import model_if_any, model_in
from llmhop.routing.decision import ANYONE, Answer, MetricsPage, Principal, ReadinessQuery, Route
from llmhop.routing.origin_policy import SITE, OriginPolicy, is_preflight, preflight_lines
from llmhop.routing.route_names import RouteNames
from llmhop.routing.target import (
    HEALTH_PATH,
    METRICS_PATH,
    MODELS_PATH,
    READING,
    READY_PATH,
    ROUTE_PREFIX,
    NamedTarget,
    is_of_stored_response,
    own_path,
    read_target,
)

_HEALTHY = b'{"status":"ok"}'
_NOTHING = b"{}"
# What nearly all requests ask for, none of which is a control path.
_COMMON_PATHS = frozenset(
    [
        *(b"/v1/chat/completions", b"/v1/completions", b"/v1/embeddings"),
        *(b"/v1/messages", b"/v1/responses"),
    ]
)
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
        self.routes = _routes(config.models)
        self._tokens = _principals(config)
        self.has_auth = config.has_tokens
        self.origins = OriginPolicy(config, machine)
        self._created = created
        entries = {name: _model_entry(name, created) for name in config.models}
        self.listed = frozenset(name for name, m in config.models.items() if not m.unlisted)
        listed = [entries[name] for name in config.models if name in self.listed]
        self._models = {name: msgspec.json.encode(entry) for name, entry in entries.items()}
        self._list = msgspec.json.encode({"object": "list", "data": listed})

    def authorize(self, head: RequestHead, on_loopback: bool) -> Principal:
        """Return whom a request is from that may pass. Raises ApiError (401, 403).

        `on_loopback` is what `OriginPolicy.admit` has to know.
        """
        if on_loopback or head.origin is not None or SITE in head.names:
            self.origins.admit(head, on_loopback)
        principal = self._find_principal(head.bearer)
        if principal is not None:
            return principal
        if _is_open(head):
            return ANYONE
        raise unauthorized()

    def _find_principal(self, token: bytes | None) -> Principal | None:
        if not self.has_auth:
            return ANYONE
        found = None
        if token is not None:
            # Every token is compared, so that the time says nothing about which one was near.
            for known, principal in self._tokens:
                if compare_digest(token, known):
                    found = principal
        return found

    def decide(
        self, head: RequestHead, body: Body, principal: Principal = ANYONE
    ) -> Answer | MetricsPage | ReadinessQuery | Route:
        """Return what becomes of a request that `authorize` let pass.

        Raises ApiError (400, 403, 404, 413, 415, 508).

        A model in the path wins over one in the query, and that over one in the body; two that
        differ are an error, so that no two readers of a request take it for different models.
        """
        decision = self._own_endpoint(head, principal)
        if decision is not None:
            return decision
        named = self._examine(head, principal, has_body=bool(body))
        if named is None:
            model = self._only_model(head, principal) if not body else None
            route = self._route_of(model_in(head, body) if model is None else model)
            return self._permitted(route, head.path, principal)
        return self._by_target(named, model_if_any(head, body), principal)

    def decide_by_head(
        self, head: RequestHead, principal: Principal = ANYONE
    ) -> Answer | MetricsPage | ReadinessQuery | None:
        """Return what answers an authorized request, whatever its body is.

        None where the body counts. Raises what `decide` does for any body: ApiError (400, 403, 404,
        415, 508).
        """
        decision = self._own_endpoint(head, principal)
        if decision is None:
            self._examine(head, principal, has_body=True)
        return decision

    def _own_endpoint(
        self, head: RequestHead, principal: Principal
    ) -> Answer | MetricsPage | ReadinessQuery | None:
        if head.method in READING:
            path = own_path(head.path)
            if path == HEALTH_PATH:
                return Answer(_HEALTHY)
            if path == READY_PATH:
                return self._ready(head)
            if path == METRICS_PATH:
                if METRICS not in principal.paths and ANY_PATH not in principal.paths:
                    raise path_not_allowed(METRICS)
                return MetricsPage()
            if path == MODELS_PATH:
                return Answer(self._list_for(head, principal))
            if path.startswith(MODELS_PATH + b"/"):
                return self._describe(head, path[len(MODELS_PATH) + 1 :], principal)
        if head.origin is not None and is_preflight(head):
            return Answer(b"", 204, preflight_lines(head))
        if head.last_hop:
            return Answer(_NOTHING)
        return None

    def _examine(
        self, head: RequestHead, principal: Principal, has_body: bool
    ) -> NamedTarget | None:
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
        self._permitted(self._named_route(named.names), named.path, principal)
        return named

    def decide_by_target(self, head: RequestHead, principal: Principal = ANYONE) -> Route | None:
        """Return the route that the target of a form names, or None.

        Raises ApiError (403, 404), and for any form in a content coding (415), that came in a loop
        or through too many llmhops (508).
        """
        self._check_loop(head)
        if head.coded:
            raise coded_body()
        named = read_target(head.target)
        return self._by_target(named, None, principal) if named.names else None

    def decide_form(self, head: RequestHead, model: str, principal: Principal = ANYONE) -> Route:
        """Return the route of a form that names `model`, as `decide` does for other bodies."""
        named = read_target(head.target)
        if named.names:
            return self._by_target(named, model, principal)
        return self._permitted(self._route_of(model), head.path, principal)

    def _only_model(self, head: RequestHead, principal: Principal) -> str | None:
        """Return the model of a request for a stored response, which can name it by target alone.

        None where there are several, or for another request.
        """
        if not is_of_stored_response(head.path):
            return None
        models = [name for name in self._models if principal.may_use(name)]
        return models[0] if len(models) == 1 else None

    def _permitted(self, route: Route, path: bytes, principal: Principal) -> Route:
        """Return a route, if `principal` may send a request for `path` there. Raises ApiError."""
        if not principal.may_use(route.model):
            raise model_not_allowed()
        if path not in _COMMON_PATHS:
            if principal.name and leads_on(path):
                raise path_not_allowed("/route/")
            control = find_control_path(path)
            if control is not None and not any(
                control in paths or ANY_PATH in paths for paths in (route.paths, principal.paths)
            ):
                raise path_not_allowed(control)
        return route

    def _ready(self, head: RequestHead) -> ReadinessQuery:
        principal = self._find_principal(head.bearer)
        # A client that may not use every model does not see the others.
        detailed = principal is not None and principal.models is None
        named = [field.value for field in read_target(head.target).in_query]
        if not named:
            return ReadinessQuery(detailed)
        self._check_loop(head)
        route = self._agreed(named)
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
        route = self.routes.find(model)
        if route is None:
            raise model_not_found(model)
        return route

    def _by_target(self, named: NamedTarget, in_body: str | None, principal: Principal) -> Route:
        """Return the route that path or query name."""
        route = self._named_route(named.names if in_body is None else [*named.names, in_body])
        self._permitted(route, named.path, principal)
        renames = in_body is not None and in_body != route.model
        return msgspec.structs.replace(
            route, target=named.named_in_query(route.model), renames=renames
        )

    def _named_route(self, names: list[str]) -> Route:
        """Return the route of the first name, which all must agree with. Raises ApiError."""
        route = self._agreed(names)
        if route is None:
            raise model_not_found(names[0])
        return route

    def _agreed(self, names: list[str]) -> Route | None:
        """Return the route of all names, if there is one; an alias is its model by another name.

        Raises ApiError where two are of different models.
        """
        first, *others = names
        route = self.routes.find(first)
        for name in others:
            other = self.routes.find(name)
            if name != first and (route is None or other is None or other.model != route.model):
                raise conflicting_models(first, name)
        return route

    def _list_for(self, head: RequestHead, principal: Principal) -> bytes:
        names = [name for name in self._models if name in self.listed and principal.may_use(name)]
        if is_of_anthropic(head):
            return model_list(names, self._created)
        if principal.models is None:
            return self._list
        entries = [msgspec.Raw(self._models[name]) for name in names]
        return msgspec.json.encode({"object": "list", "data": entries})

    def _describe(self, head: RequestHead, quoted: bytes, principal: Principal) -> Answer:
        # Names may hold slashes ("Qwen/Qwen2.5-7B"), sent as they are or as %2F.
        model = self._route_of(decode_name(quoted)).model
        if not principal.may_use(model):
            raise model_not_allowed()
        if is_of_anthropic(head):
            return Answer(msgspec.json.encode(model_entry(model, self._created)))
        return Answer(self._models[model])


def _principals(config: Config) -> list[tuple[bytes, Principal]]:
    """Return every token, and whom a request with it is from."""
    named = [
        (token, Principal(name, models, frozenset(client.paths), client.is_limited))
        for name, client in (config.clients or {}).items()
        for models in (None if client.models is None else frozenset(client.models),)
        for token in client.tokens
    ]
    known = [*((token, ANYONE) for token in config.auth_tokens), *named]
    return [(token.encode(), principal) for token, principal in known]


def _is_open(head: RequestHead) -> bool:
    if is_preflight(head):  # browsers send no token in it
        return True
    return head.method in READING and own_path(head.path) in (HEALTH_PATH, READY_PATH)


def _routes(models: Mapping[str, ModelConfig]) -> RouteNames:
    routes = {name: _route(name, model) for name, model in models.items()}
    aliases = {alias: name for name, model in models.items() for alias in model.aliases}
    renaming = {
        alias: msgspec.structs.replace(routes[name], renames=True)
        for alias, name in aliases.items()
    }
    return RouteNames(routes, renaming)


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
        paths=frozenset(model.paths),
    )


def _model_entry(name: str, created: int) -> dict[str, object]:
    return {"id": name, "object": "model", "created": created, "owned_by": "llmhop"}
