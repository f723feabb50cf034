"""Errors of a request: responses to its client, in OpenAI's format, and failures of a backend.

The shape of an error body is that of the OpenAI API:
``{"error": {"message": …, "type": …, "param": …, "code": …}}``, with the id of the request in it
too.
"""

from __future__ import annotations

from typing import Final

import msgspec

from llmhop.limits import MAX_HOPS, OVERLOAD_RETRY_AFTER_S, QUEUE_RETRY_AFTER_S

INVALID_REQUEST = "invalid_request_error"
SERVER_ERROR = "server_error"

# Why no engine has seen a request: error types of RFC 9209 section 2.3.
NOT_REACHED: Final = b"destination_unavailable"
NO_MODEL: Final = b"destination_not_found"
BUSY: Final = b"connection_limit_reached"
LOOP: Final = b"proxy_loop_detected"


# What msgspec raises for bytes that are no JSON; a string that is not UTF-8 is an error of its own.
UNREADABLE_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class ApiError(Exception):
    """A request that is answered with an error body."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = INVALID_REQUEST,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
        unserved: bytes = b"",
    ) -> None:
        """`retry_after` is when the client may try again, in seconds.

        `unserved` is set where another llmhop might serve the request, which no engine has seen:
        why it was not served here (RFC 9209).
        """
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.param = param
        self.code = code
        self.retry_after = retry_after
        self.unserved = unserved

    def body(self, request_id: str) -> bytes:
        """The JSON body that the client gets."""
        error = {
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.code,
            "request_id": request_id,
        }
        return msgspec.json.encode({"error": error})


class BadRequestError(ApiError):
    """Bytes that are not an HTTP request we accept; the connection can't go on after it."""

    def __init__(self, message: str, status: int = 400, code: str = "bad_request") -> None:
        super().__init__(status, message, code=code)


def request_timeout() -> ApiError:
    """408, for a request that came too slowly."""
    return ApiError(408, "The request did not arrive in time.", code="timeout")


def body_too_large(limit: int) -> ApiError:
    """413, for a body beyond `limit` bytes."""
    return ApiError(
        413,
        f"The request body is larger than the limit of {limit} bytes.",
        code="request_too_large",
    )


def coded_body() -> ApiError:
    """415, for a body in a content coding, in which the model can't be read."""
    return ApiError(
        415,
        "The request body has a Content-Encoding, which llmhop does not decode. Send it as it is, "
        "without that header.",
        code="unsupported_content_encoding",
    )


def unauthorized() -> ApiError:
    """401, the same for a missing and a wrong token."""
    return ApiError(
        401,
        "No valid API key was given. Send it as 'Authorization: Bearer KEY'.",
        code="invalid_api_key",
    )


def origin_not_allowed(origin: str) -> ApiError:
    """403, for a web page that may not use llmhop."""
    return ApiError(
        403,
        f"Web pages of the origin '{_shortened(origin)}' may not use this llmhop. Whoever runs it "
        "can allow it: by the setting cors.origins.",
        code="origin_not_allowed",
    )


def site_not_allowed() -> ApiError:
    """403, for a page of another site, of which the browser does not say the origin."""
    return ApiError(
        403,
        "A web page of another origin asks for this, and its browser does not say which. A page "
        "that the setting cors.origins allows asks with its origin: by fetch without 'no-cors', "
        "and by elements that have the attribute crossorigin.",
        code="origin_not_allowed",
    )


def host_not_allowed(host: str) -> ApiError:
    """403, for a name of this host by which a web site could reach llmhop."""
    return ApiError(
        403,
        f"This llmhop does not know itself as '{_shortened(host)}', and a web site could have that "
        "name lead here. Ask it as localhost or by an address, name it in the setting "
        "allowedHosts, or set authTokens.",
        code="host_not_allowed",
    )


def model_not_found(model: str) -> ApiError:
    """404, for a model that is not in the config."""
    return ApiError(
        404,
        f"The model '{_shortened(model)}' does not exist. GET /v1/models lists those that do.",
        param="model",
        code="model_not_found",
        unserved=NO_MODEL,
    )


def model_not_allowed() -> ApiError:
    """403, for a model that is not among those of the client; what an alias means is not told."""
    return ApiError(
        403,
        "This API key is not for that model. GET /v1/models lists those that it is for.",
        param="model",
        code="model_not_allowed",
    )


def path_not_allowed(path: str) -> ApiError:
    """403, for a path that is for administrators."""
    return ApiError(
        403,
        f"The path '{path}' is for administrators. Whoever runs llmhop can allow it to clients: by "
        "the setting paths of a model or of a client.",
        code="path_not_allowed",
    )


def conflicting_models(first: str, second: str) -> ApiError:
    """400, for a request that names two models."""
    return ApiError(
        400,
        f"The request names two models, '{_shortened(first)}' and '{_shortened(second)}'. "
        "Name one in path, query and body.",
        param="model",
        code="conflicting_models",
    )


def model_twice() -> ApiError:
    """400, for a form with two fields `model`, whatever they say."""
    return ApiError(
        400, "The form has two fields 'model'.", param="model", code="conflicting_models"
    )


def _shortened(name: str) -> str:
    return name if len(name) <= 200 else name[:200] + "…"


def backend_unavailable(model: str, retry_after: int) -> ApiError:
    """503, for a backend that can't be reached; it has seen nothing of the request.

    The reason of this and of the next three goes to the log.
    """
    return ApiError(
        503,
        f"The backend of the model '{model}' can't be reached. It may be starting; "
        "try again later.",
        kind=SERVER_ERROR,
        code="backend_unavailable",
        retry_after=retry_after,
        unserved=NOT_REACHED,
    )


def backend_untrusted(model: str, retry_after: int) -> ApiError:
    """503, for a backend whose certificate is not trusted; it has seen nothing of the request."""
    return ApiError(
        503,
        f"The certificate of the backend of the model '{model}' is not trusted. Whoever runs "
        "llmhop finds in its log why.",
        kind=SERVER_ERROR,
        code="backend_unavailable",
        retry_after=retry_after,
        unserved=NOT_REACHED,
    )


def backend_broke(model: str) -> ApiError:
    """502, for a backend that got the request and broke off."""
    return _backend_error(f"The backend of the model '{model}' broke off before its response.")


def backend_invalid(model: str, unserved: bool = False) -> ApiError:
    """502, for a backend that broke the rules of HTTP.

    `unserved` says that it did so before it got the request.
    """
    message = f"The backend of the model '{model}' sent what is no valid response."
    return _backend_error(message, NOT_REACHED if unserved else b"")


def _backend_error(message: str, unserved: bytes = b"") -> ApiError:
    return ApiError(
        502,
        message,
        kind=SERVER_ERROR,
        code="backend_error",
        unserved=unserved,
    )


def backend_timeout(model: str) -> ApiError:
    """504, for a backend that got the request and took too long."""
    return ApiError(
        504,
        f"The backend of the model '{model}' did not answer in time.",
        kind=SERVER_ERROR,
        code="backend_timeout",
    )


def loop_detected() -> ApiError:
    """508, for a request that llmhop itself has sent on before."""
    return ApiError(
        508,
        "The request came back to the llmhop that had sent it on: a url of the model leads to "
        "llmhop itself.",
        kind=SERVER_ERROR,
        code="loop_detected",
        unserved=LOOP,
    )


def leads_nowhere() -> ApiError:
    """508, where every url led to an llmhop that answered so."""
    return ApiError(
        508,
        "Every url of the model leads the request in a loop, or through more than "
        f"{MAX_HOPS} llmhops.",
        kind=SERVER_ERROR,
        code="loop_detected",
        unserved=LOOP,
    )


def too_many_hops() -> ApiError:
    """508, for a request that came through as many llmhops as may be."""
    return ApiError(
        508,
        f"The request came through {MAX_HOPS} llmhops, and may go through no more: urls of the "
        "model lead from one llmhop to the next.",
        kind=SERVER_ERROR,
        code="too_many_hops",
        unserved=LOOP,
    )


def queue_full(model: str) -> ApiError:
    """429, where a model has all the requests that it may have, and all that may wait."""
    return ApiError(
        429,
        f"The model '{model}' has too many requests waiting. Try again later.",
        kind="requests",  # as OpenAI's own
        code="rate_limit_exceeded",
        retry_after=QUEUE_RETRY_AFTER_S,
        unserved=BUSY,
    )


def client_limit_reached(what: str, kind: str, retry_after: int) -> ApiError:
    """429, where a client with a name has had as much as it may: `what`, for now.

    `kind` is what there were too many of, `retry_after` when there is room again, in seconds.
    """
    return ApiError(
        429,
        f"This API key is good for {what}. Try again in {retry_after} s.",
        kind=kind,  # as OpenAI's own
        code="rate_limit_exceeded",
        retry_after=retry_after,
    )


def queue_timeout(model: str) -> ApiError:
    """503, for a request that waited too long in the queue of its model; no backend has seen it."""
    return ApiError(
        503,
        f"The model '{model}' is busy and the request waited too long. Try again later.",
        kind=SERVER_ERROR,
        code="queue_timeout",
        retry_after=QUEUE_RETRY_AFTER_S,
        unserved=BUSY,
    )


def overloaded() -> ApiError:
    """503, where the bodies or the clients are too many; no backend has seen the request."""
    return ApiError(
        503,
        "llmhop has as much to do as it may take on. Try again later.",
        kind=SERVER_ERROR,
        code="overloaded",
        retry_after=OVERLOAD_RETRY_AFTER_S,
        unserved=BUSY,
    )


def shutting_down(unserved: bool) -> ApiError:
    """503, for a request that is not answered before llmhop ends.

    `unserved` says that no backend has seen it.
    """
    return ApiError(
        503,
        "llmhop is shutting down. Try again later.",
        kind=SERVER_ERROR,
        code="shutting_down",
        retry_after=OVERLOAD_RETRY_AFTER_S,
        unserved=NOT_REACHED if unserved else b"",
    )


def internal_error() -> ApiError:
    """500, for a fault of llmhop's own; the reason goes to the log."""
    return ApiError(
        500, "llmhop failed to answer; its log says why.", kind=SERVER_ERROR, code="internal_error"
    )


class BackendError(Exception):
    """A backend broke off or broke the rules of HTTP. The message is for the log."""
