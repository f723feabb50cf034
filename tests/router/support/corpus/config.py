"""Configs that are refused, and how the one line begins that says so."""

from __future__ import annotations

URL = "http://127.0.0.1:8000"
MODELS = {"m": {"url": URL}}

BAD: dict[str, tuple[object, str]] = {
    "a list": ([], "config: is not an object"),
    "null": (None, "config: is not an object"),
    "nothing": ({}, "models: has no model"),
    "no models": ({"models": {}}, "models: has no model"),
    "null models": ({"models": None}, "models: has no model"),
    "models in a list": ({"models": [MODELS]}, "models: is not an object"),
    "unknown key": ({"models": MODELS, "modles": 1}, "modles: is not a known key; write models"),
    "key in other case": (
        {"models": MODELS, "authtokens": []},
        "authtokens: is not a known key; write authTokens",
    ),
    "unknown key like no other": (
        {"models": MODELS, "zzz": 1},
        "zzz: is not a known key; use one of listen, host, port, socketMode, tls, models, auth",
    ),
    "model is a string": ({"models": {"m": URL}}, "models.m: is not an object"),
    "model without url": ({"models": {"m": {}}}, "models.m.url: is missing"),
    "null url": ({"models": {"m": {"url": None}}}, "models.m.url: is missing"),
    "unknown model key": (
        {"models": {"m": {"url": URL, "header": {}}}},
        "models.m.header: is not a known key; write headers",
    ),
    "dotted model name": ({"models": {"qwen3.6": {}}}, 'models."qwen3.6".url: is missing'),
    "empty model name": ({"models": {"": {"url": URL}}}, 'models."": has an empty or broken name'),
    "surrogate in a model name": (
        {"models": {"\ud800": {"url": URL}}},
        'models."\\ud800": has an empty or broken name',
    ),
    "newline in a model name": ({"models": {"a\nb": {}}}, 'models."a\\u000ab".url: is missing'),
    "url is a number": ({"models": {"m": {"url": 1}}}, "models.m.url: is not a string"),
    "listen is a number": ({"models": MODELS, "listen": 8080}, "listen: is not a string"),
    "listen and port": (
        {"models": MODELS, "listen": ":1", "port": 1},
        "listen: is given together with host or port; keep one of the two",
    ),
    "host is a number": ({"models": MODELS, "host": 1}, "host: is not a string"),
    "host is no host": ({"models": MODELS, "host": "a b"}, "host: has a host that is neither"),
    "host that is no IPv4 address": (
        {"models": MODELS, "host": "010.0.0.1"},
        "host: has a host that is not an IPv4",
    ),
    "host with a port": (
        {"models": MODELS, "host": "h:80"},
        "host: has a host that is not an IPv6",
    ),
    "port is a string": ({"models": MODELS, "port": "80"}, "port: is not a whole number"),
    "port is true": ({"models": MODELS, "port": True}, "port: is not a whole number"),
    "port is a float": ({"models": MODELS, "port": 80.5}, "port: is not a whole number"),
    "port out of range": ({"models": MODELS, "port": 65536}, "port: has a port that is not a"),
    "negative port": ({"models": MODELS, "port": -1}, "port: has a port that is not a number"),
    "limit is a string": ({"models": MODELS, "maxBodyBytes": "1M"}, "maxBodyBytes: is not a whole"),
    "negative limit": ({"models": MODELS, "maxBodyBytes": -1}, "maxBodyBytes: is out of range"),
    "huge limit": (
        {"models": MODELS, "maxBodyBytes": 2**63, "maxBufferedBytes": 2**30},
        f"maxBodyBytes: is out of range; write a number of bytes up to {2**63 - 1}, or 0 for the",
    ),
    "memory in words": (
        {"models": MODELS, "maxBufferedBytes": "1G"},
        "maxBufferedBytes: is not a whole number",
    ),
    "no memory": ({"models": MODELS, "maxBufferedBytes": 0}, "maxBufferedBytes: is out of range"),
    "huge memory": (
        {"models": MODELS, "maxBufferedBytes": 2**63},
        "maxBufferedBytes: is out of range",
    ),
    "memory for less than a body": (
        {"models": MODELS, "maxBodyBytes": 9, "maxBufferedBytes": 8},
        "maxBufferedBytes: is smaller than maxBodyBytes; write 9 or more, or lower maxBodyBytes",
    ),
    "memory for less than a body of each worker": (
        {"models": MODELS, "maxBodyBytes": 9, "maxBufferedBytes": 17, "workers": 2},
        "maxBufferedBytes: is smaller than maxBodyBytes for each of 2 workers; write 18 or more",
    ),
    "no connections": ({"models": MODELS, "maxConnections": 0}, "maxConnections: is out of range"),
    "connections are true": (
        {"models": MODELS, "maxConnections": True},
        "maxConnections: is not a whole number",
    ),
    "too many connections": (
        {"models": MODELS, "maxConnections": 1_000_001},
        "maxConnections: is out of range; write a number from 1 to 1000000",
    ),
    "negative rate": ({"models": MODELS, "minUploadRate": -1}, "minUploadRate: is out of range"),
    "broken rate": ({"models": MODELS, "minUploadRate": 0.5}, "minUploadRate: is not a whole"),
    "no time for a drain": ({"models": MODELS, "drainTimeout": 0}, "drainTimeout: is out of range"),
    "drain in words": ({"models": MODELS, "drainTimeout": "30s"}, "drainTimeout: is not a number"),
    "cors without origins": ({"models": MODELS, "cors": {}}, "cors.origins: is missing"),
    "cors as a list": ({"models": MODELS, "cors": ["*"]}, "cors: is not an object"),
    "origins in a string": (
        {"models": MODELS, "cors": {"origins": "*"}},
        'cors.origins: is not a list; write ["https://app.example"], or [] for none',
    ),
    "origin twice": (
        {"models": MODELS, "cors": {"origins": ["https://a", "https://a"]}},
        "cors.origins[1]: is listed twice",
    ),
    "tokens in a string": ({"models": MODELS, "authTokens": "x"}, "authTokens: is not a list"),
    "token is a number": ({"models": MODELS, "authTokens": [1]}, "authTokens[0]: is not a string"),
    "empty token": ({"models": MODELS, "authTokens": ["a", ""]}, "authTokens[1]: is empty"),
    "token with a space": (
        {"models": MODELS, "authTokens": [" a"]},
        "authTokens[0]: starts or ends",
    ),
    "token with a newline": (
        {"models": MODELS, "authTokens": ["a\nb"]},
        "authTokens[0]: holds a control character",
    ),
    "unset variable": (
        {"models": MODELS, "authTokens": ["${env:NOPE}"]},
        "authTokens[0]: ${env:NOPE} refers to an environment variable that is not set; set NOPE",
    ),
    "unset plain variable": (
        {"models": MODELS, "authTokens": ["$NOPE"]},
        "authTokens[0]: $NOPE refers to an environment variable that is not set",
    ),
    "missing file": (
        {"models": MODELS, "authTokens": ["${file:/no/such}"]},
        "authTokens[0]: ${file:/no/such} can't be read (No such file or directory: /no/such)",
    ),
    "directory as a secret": (
        {"models": MODELS, "authTokens": ["${file:/}"]},
        "authTokens[0]: ${file:/} can't be read (Is a directory: /)",
    ),
    "unknown reference": (
        {"models": MODELS, "authTokens": ["${vault:x}"]},
        "authTokens[0]: a '${…}' reference is of no known kind",
    ),
    "open reference": (
        {"models": MODELS, "authTokens": ["${env:X"]},
        "authTokens[0]: a '${' has no closing '}'",
    ),
    "headers in a list": (
        {"models": {"m": {"url": URL, "headers": []}}},
        "models.m.headers: is not an object",
    ),
    "header is a number": (
        {"models": {"m": {"url": URL, "headers": {"X": 1}}}},
        "models.m.headers.X: is not a string",
    ),
    "header name with a space": (
        {"models": {"m": {"url": URL, "headers": {"X Y": "1"}}}},
        'models.m.headers."X Y": is not a header name',
    ),
    "header with a newline": (
        {"models": {"m": {"url": URL, "headers": {"X": "a\r\nY: b"}}}},
        "models.m.headers.X: holds a control character",
    ),
    "header of the framing": (
        {"models": {"m": {"url": URL, "headers": {"Content-length": "1"}}}},
        "models.m.headers.Content-length: is set by llmhop itself; remove it",
    ),
    "header of the way": (
        {"models": {"m": {"url": URL, "headers": {"via": "1.1 x"}}}},
        "models.m.headers.via: is set by llmhop itself; remove it",
    ),
    "header twice": (
        {"models": {"m": {"url": URL, "headers": {"X": "1", "x": "2"}}}},
        "models.m.headers.x: is given twice in different case",
    ),
    "unset variable in a header": (
        {"models": {"m": {"url": URL, "headers": {"X": "a ${env:NOPE}"}}}},
        "models.m.headers.X: ${env:NOPE} refers to",
    ),
}
BAD |= {
    "alias of another model": (
        {"models": {"m": {"url": URL, "aliases": ["x"]}, "n.1": {"url": URL, "aliases": ["x"]}}},
        'models."n.1".aliases[0]: is a name of the model m already; remove or rename it',
    ),
    "alias that is a model": (
        {"models": {"m": {"url": URL, "aliases": ["n"]}, "n": {"url": URL}}},
        "models.m.aliases[0]: is a name of the model n already",
    ),
    "alias that is the model itself": (
        {"models": {"m": {"url": URL, "aliases": ["m"]}}},
        "models.m.aliases[0]: is a name of the model m already",
    ),
    "alias twice": (
        {"models": {"m": {"url": URL, "aliases": ["x", "x"]}}},
        "models.m.aliases[1]: is a name of the model m already",
    ),
    "aliases in a string": (
        {"models": {"m": {"url": URL, "aliases": "x"}}},
        "models.m.aliases: is not a list",
    ),
    "alias is a number": (
        {"models": {"m": {"url": URL, "aliases": [1]}}},
        "models.m.aliases[0]: is not a string",
    ),
    "empty alias": (
        {"models": {"m": {"url": URL, "aliases": [""]}}},
        "models.m.aliases[0]: is an empty or broken name",
    ),
    "unlisted is a string": (
        {"models": {"m": {"url": URL, "unlisted": "yes"}}},
        "models.m.unlisted: is not a boolean; write true or false",
    ),
    "timeout in words": (
        {"models": {"m": {"url": URL, "connectTimeout": "10s"}}},
        "models.m.connectTimeout: is not a number; write seconds",
    ),
    "timeout of true": (
        {"models": {"m": {"url": URL, "idleTimeout": True}}},
        "models.m.idleTimeout: is not a number; write seconds",
    ),
    "timeout of nothing": (
        {"models": {"m": {"url": URL, "connectTimeout": 0}}},
        "models.m.connectTimeout: is out of range",
    ),
    "endless timeout": (
        {"models": {"m": {"url": URL, "idleTimeout": float("inf")}}},
        "models.m.idleTimeout: is out of range",
    ),
    "mode is a number": ({"models": MODELS, "socketMode": 432}, "socketMode: is not a string"),
    "mode is no mode": (
        {"models": MODELS, "socketMode": "rw-rw----"},
        "socketMode: is not an access mode; write it in octal",
    ),
    "listen in an empty list": ({"models": MODELS, "listen": []}, "listen: is an empty list"),
    "one of the listeners is wrong": (
        {"models": MODELS, "listen": [":1", "nonsense"]},
        "listen[1]: has no port",
    ),
    "one of the listeners is a number": (
        {"models": MODELS, "listen": [8080]},
        "listen[0]: is not a string",
    ),
    "a listener twice": (
        {"models": MODELS, "listen": ["h:1", "h:1"]},
        "listen[1]: is listed twice; remove it",
    ),
    "a listener for IPv4 as IPv6": (
        {"models": MODELS, "listen": "[::ffff:127.0.0.1]:8080"},
        "listen: has an IPv4 address written as an IPv6 one, which can't be bound; write",
    ),
    "an unknown log": (
        {"models": MODELS, "accessLog": "xml"},
        'accessLog: is not a known format; write "text", "json" or "off"',
    ),
    "a log that is no word": ({"models": MODELS, "accessLog": True}, "accessLog: is not a known"),
    "no workers": ({"models": MODELS, "workers": 0}, "workers: is out of range; write a number"),
    "too many workers": ({"models": MODELS, "workers": 257}, "workers: is out of range"),
    "workers in words": ({"models": MODELS, "workers": "auto"}, "workers: is not a whole number"),
    "tls is true": ({"models": MODELS, "tls": True}, "tls: is not an object"),
    "tls without a key": (
        {"models": MODELS, "tls": {"certificate": "/c"}},
        "tls.key: is missing; write the path of a PEM file",
    ),
    "tls with an empty path": (
        {"models": MODELS, "tls": {"certificate": "", "key": "/k"}},
        "tls.certificate: is empty",
    ),
    "tls with another key": (
        {"models": MODELS, "tls": {"certificate": None, "key": "/k", "cert": "/c"}},
        "tls.cert: is not a known key; use one of certificate, key",
    ),
    "tls with an empty path and a file that is not there": (
        {"models": MODELS, "tls": {"certificate": "/no/such", "key": ""}},
        "tls.key: is empty",
    ),
    "tls with a number and a file that is not there": (
        {"models": MODELS, "tls": {"certificate": 1, "key": "/no/such"}},
        "tls.certificate: is not a string",
    ),
    "tls files that are not there": (
        {"models": MODELS, "tls": {"certificate": "/no/such", "key": "/"}},
        "tls.certificate: can't be read (No such file or directory: /no/such)",
    ),
}
BAD |= {
    "urls and url": (
        {"models": {"m": {"url": URL, "urls": [URL]}}},
        "models.m.url: is given together with urls; keep one of the two",
    ),
    "urls in a string": ({"models": {"m": {"urls": URL}}}, "models.m.urls: is not a list"),
    "no urls": ({"models": {"m": {"urls": []}}}, "models.m.urls: is an empty list; write ["),
    "a url twice": (
        {"models": {"m": {"urls": [URL, "http://h", URL]}}},
        "models.m.urls[2]: is listed twice; remove it",
    ),
    "one of the urls is wrong": (
        {"models": {"m": {"urls": [URL, "h:80"]}}},
        "models.m.urls[1]: does not start with http",
    ),
    "one of the urls is a number": (
        {"models": {"m": {"urls": [1]}}},
        "models.m.urls[0]: is not a string",
    ),
    "more urls than there may be": (
        {"models": {"m": {"urls": [f"http://h{n}" for n in range(65)]}}},
        "models.m.urls: is too long; write up to 64 urls",
    ),
}
BAD |= {
    f"{key} of {value}": (
        {"models": {"m": {"url": URL, key: value}}},
        f"models.m.{key}: is {what}",
    )
    for key, value, what in (
        ("retries", -1, "out of range; write a number from 0 to 10"),
        ("retries", 11, "out of range; write a number from 0 to 10"),
        ("retries", True, "not a whole number; write a number from 0 to 10"),
        ("maxConcurrent", 0, "out of range; write a number from 1 to 1000000"),
        ("maxConcurrent", "8", "not a whole number"),
        ("maxQueued", -1, "out of range; write a number from 0 to 1000000"),
        ("maxQueued", 1.5, "not a whole number"),
        ("resolve", 0, "out of range; write seconds above 0"),
        ("responseTimeout", 0, "out of range; write seconds above 0"),
        ("readTimeout", "1m", "not a number; write seconds"),
        ("queueTimeout", 86401, "out of range; write seconds above 0 and up to 86400"),
    )
}
BAD |= {
    f"url {url!r}": ({"models": {"m": {"url": url}}}, f"models.m.url: {what}")
    for url, what in {
        "": "does not start with http",
        "localhost:8000": "does not start with http",
        "ftp://h": "does not start with http",
        "http://": "has no host",
        "http:///v1": "has no host",
        "http://h:0": "has port 0",
        "http://h:99999": "has a host or port that is not valid",
        "http://h:x": "has a host or port that is not valid",
        "http://[::1": "has a host or port that is not valid",
        "http://a b": "has a space, a control character",
        "http://h\n": "has a space, a control character",
        "http://é": "has a space, a control character or one that is not ASCII",
        "http://h#f": "has a fragment",
        "http://u:secret@h": "holds a user name or password, which are not sent; put credentials",
        "http://-_*": "has a host that is neither",
        "http://127.0.0.01": "has a host that is not an IPv4 address",
        "unix:engine.sock": "has a socket path that is not absolute; write e.g. unix:/run/engine",
        "unix:/" + "x" * 107: "has a socket path of more than 107 bytes",
        "unix:/s:/v1#f": "has a fragment",
    }.items()
}
BAD |= {
    f"listen {listen!r}": ({"models": MODELS, "listen": listen}, f"listen: {what}")
    for listen, what in {
        "": "has no port",
        "8080": "has no port",
        "h:": "has a port that is not a number",
        "h:http": "has a port that is not a number",
        "h:65536": "has a port that is not a number",
        "h:+80": "has a port that is not a number",
        "::1:80": "has an IPv6 address without brackets",
        "[h]:80": "has brackets around something that is not an IPv6 address",
        "[::g]:80": "has a host that is not an IPv6 address",
        "192.168.1.300:80": "has a host that is not an IPv4 address",
        "a/b:80": "has a '/', as a URL has",
        "http://127.0.0.1:8080": "has a '/', as a URL has",
        "unix:": "has a socket path that is not absolute",
        "unix:s": "has a socket path that is not absolute",
        "unix:/a\nb": "has a control character in its socket path",
        "unix:/\ud800": "has a socket path that is not Unicode",
        "unix:/" + "é" * 54: "has a socket path of more than 107 bytes",
    }.items()
}
# Every problem is told at once, those of files that are there by name too.

_ORIGINS = {
    **dict.fromkeys(
        [
            *("app.example", "https://app.example/", "https://app.example/chat", "https://", ""),
            *("https://App.example", "HTTPS://app.example", "https://bücher.example", "file://"),
            *("https://*.app.example", "http://localhost:*", "https://u@app.example", "*.example"),
            *("https://app.example:0", "https://app.example\n", "https://a, https://b"),
        ],
        "is not an origin as browsers send it",
    ),
    "https://app.example:443": "has the port that browsers leave out",
    "http://app.example:80": "has the port that browsers leave out",
    "null": "is what any sandboxed page has as its origin",
}
BAD |= {
    f"origin {origin!r}": (
        {"models": MODELS, "cors": {"origins": [origin]}},
        f"cors.origins[0]: {what}; write scheme, host in lower case and perhaps a port, e.g.",
    )
    for origin, what in _ORIGINS.items()
}
for host, what in {
    "llm.example:80": 'is not a host name alone; write e.g. "llm.example", without scheme and port',
    "": "is not a host name alone",
    "a b": "has a host that is neither a host name nor",
}.items():
    config = {"models": MODELS, "allowedHosts": [host]}
    BAD[f"allowed host {host!r}"] = (config, f"allowedHosts[0]: {what}")
