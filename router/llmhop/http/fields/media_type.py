"""Header values with parameters: Content-Type and Content-Disposition (RFC 9110 section 5.6.6).

Readers differ in what they make of such values when they are written oddly. So one strict form is
read, the one that clients write, and everything else is refused rather than guessed at.
"""

from __future__ import annotations

import re

from llmhop.errors import BadRequestError

# Repeats are possessive, as no shorter match leads further: a value that is none is found out in
# one pass.
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
# A backslash stays what it is, as in the paths that old clients send as file names. One before a
# quote is where readers differ about the end of the string.
_TEXT = rb'[^"\\\x00-\x08\x0a-\x1f\x7f]*+'
_QUOTED = rb'"%b(?>(?:\\[^"\x00-\x1f\x7f]%b)*)"' % (_TEXT, _TEXT)
_TYPE = re.compile(rb"%b(?:/%b)?" % (_TOKEN, _TOKEN))
_PARAMETER = re.compile(rb"[ \t]*+;[ \t]*+(%b)=(%b|%b)" % (_TOKEN, _QUOTED, _TOKEN))
# RFC 2046 section 5.1.1.
_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
_FORM = b"multipart/form-data"
_UTF8 = (b"utf-8", b"utf8", b"us-ascii")

Parameters = dict[bytes, bytes]


def parse_value(value: bytes) -> tuple[bytes, Parameters] | None:
    """Return what comes before the parameters, in lower case, and the parameters by name.

    Quotes are taken off. Answers None where a parameter comes twice or anything is written oddly.
    """
    media_type = _TYPE.match(value)
    if media_type is None:
        return None
    parameters: Parameters = {}
    end = media_type.end()
    while (match := _PARAMETER.match(value, end)) is not None:
        key, quoted = match[1].lower(), match[2]
        if key in parameters:
            return None
        parameters[key] = quoted[1:-1] if quoted.startswith(b'"') else quoted
        end = match.end()
    return None if value[end:].strip(b" \t") else (media_type[0].lower(), parameters)


def form_boundary(content_types: list[bytes]) -> bytes | None:
    """Return the boundary of multipart/form-data, or None for a body of another type.

    `content_types` are the values of all Content-Type fields. Raises BadRequestError where there
    is doubt about the boundary, or where the form is in another charset than UTF-8.
    """
    if not any(_FORM in value.lower() for value in content_types):
        return None
    parsed = parse_value(content_types[0])
    if len(content_types) > 1 or parsed is None:
        raise BadRequestError("The Content-Type of the form is not one valid media type.")
    media_type, parameters = parsed
    if media_type != _FORM:
        return None
    boundary = parameters.get(b"boundary", b"")
    if not _BOUNDARY.fullmatch(boundary) or any(b"*" in name for name in parameters):
        raise BadRequestError("The Content-Type of the form has no valid boundary.")
    if not is_utf8(parameters):
        raise BadRequestError("The form is not in UTF-8.")
    return boundary


def is_utf8(parameters: Parameters) -> bool:
    """Whether a media type with these parameters is text in UTF-8, as it is where none says so."""
    return parameters.get(b"charset", b"utf-8").lower() in _UTF8
