"""Forms that name the model `m` to every parser, and others that are refused."""

from __future__ import annotations

from llmhop.http.body.multipart import MAX_MODEL_BYTES, MAX_PART_HEAD_BYTES, MAX_PARTS

from tests.router.support.corpus.forms import BOUNDARY, FILE, MODEL, SOUND, form

ACCEPTED = {
    "model first, as openai sends it": form((MODEL, b"m"), (FILE, SOUND)),
    "model last, as curl may send it": form((FILE, SOUND), (MODEL, b"m")),
    "no line end after the last boundary": form((MODEL, b"m"), end=b"--" + BOUNDARY + b"--"),
    "as aiohttp sends it": form(
        (b"Content-Type: text/plain; charset=utf-8\r\n" + MODEL, b"m"), (FILE, SOUND)
    ),
    "name without quotes": form((b"Content-Disposition: form-data; name=model", b"m")),
    "names in other cases": form((b'CONTENT-disposition: Form-Data; NAME="model"', b"m")),
    "spaces around": form((b'Content-Disposition:  form-data ;\tname="model" ', b"m")),
    "an encoding that is none": form((MODEL + b"\r\nContent-Transfer-Encoding: 8bit", b"m")),
    "a file of that name beside it": form((MODEL + b'; filename="m.txt"', b"other"), (MODEL, b"m")),
    "a field of nearly that name": form((MODEL[:-1] + b' "', b"x"), (MODEL, b"m")),
    "an escaped file name": form(
        (FILE.replace(b"a.wav", b"a%22; name=%22model.wav"), b""), (MODEL, b"m")
    ),
    "a path as file name": form((FILE.replace(b"a.wav", rb"C:\dir\a.wav"), b"x"), (MODEL, b"m")),
    "a file name in RFC 8187": form(
        (FILE.replace(b'filename="a.wav"', b"filename*=UTF-8''%e2%82%ac"), b"x"), (MODEL, b"m")
    ),
    "a part of one line end": form((FILE, b"\r\n"), (MODEL, b"m")),
    "an empty part": form((FILE, b""), (MODEL, b"m")),
    "nearly a boundary": form((FILE, b"\n--XbY\r--Xb\r\n-XbX\r\n--Xb"), (MODEL, b"m")),
    "dashes": form((FILE, b"---\r\n-----X"), (MODEL, b"m")),
}  # fmt: skip

_SECRET = b"XbX\r\n" + MODEL + b"\r\n\r\nn"
REFUSED = {
    "a boundary after LF": form((FILE, b"v\n--" + _SECRET)),
    "a boundary after CR": form((FILE, b"v\r--" + _SECRET)),
    "a boundary after LF and CR": form((FILE, b"v\n\r--" + _SECRET)),
    "a boundary after LF at the beginning": form((FILE, b"\n--" + _SECRET)),
    "a boundary after CR at the beginning": form((FILE, b"\r--" + _SECRET)),
    "a boundary within a line": form((FILE, b"v--" + _SECRET)),
    "a boundary after too many dashes": form((FILE, b"v\r\n---" + _SECRET)),
    "a boundary within the model": form((MODEL, b"m--" + _SECRET)),
    "a boundary after LF in the model": form((MODEL, b"m\n--" + _SECRET)),
    "a boundary that goes on after LF": form((FILE, b"v\n--XbXY"), (MODEL, b"m")),
    "a last boundary after LF": form((MODEL, b"m"), (FILE, b"v\n--XbX--")),
    "a boundary in a head": form((MODEL + b"; x=--XbX\r\nX: y", b"m")),
    "a boundary in a quoted name": form((FILE.replace(b"a.wav", b"--XbX"), b"v"), (MODEL, b"m")),
    "nothing": b"",
    "text before": b"hello\r\n" + form((MODEL, b"m")),
    "a line end before": b"\r\n" + form((MODEL, b"m")),
    "text after": form((MODEL, b"m")) + b"x",
    "a form after": form((MODEL, b"m")) + form((MODEL, b"n")),
    "no end": form((MODEL, b"m"), end=b""),
    "half an end": form((MODEL, b"m"), end=b"--" + BOUNDARY + b"-"),
    "another boundary": form((MODEL, b"m")).replace(BOUNDARY, b"XcX"),
    "line ends of LF": form((MODEL, b"m")).replace(b"\r\n", b"\n"),
    "a LF in a head": form((MODEL + b"\nX: y", b"m")),
    "a CR in a head": form((MODEL + b"\rX: y", b"m")),
    "a NUL in a head": form((MODEL + b"\r\nX: \x00", b"m")),
    "space after a boundary": form((MODEL, b"m")).replace(b"XbX\r\n", b"XbX \r\n", 1),
    "a boundary that goes on": form((FILE, b"x\r\n--XbXY\r\n"), (MODEL, b"m")),
    "a head without a blank line": b"--XbX\r\n" + MODEL + b"\r\n--XbX--\r\n",
    "a head that ends in a boundary": b"--XbX\r\n" + FILE + b"\r\n\r\n--XbX--\r\n",
    "no head": b"--XbX\r\n\r\nm\r\n--XbX--\r\n",
    "no disposition": form((b"X: y", b"m")),
    "two dispositions": form((MODEL + b"\r\n" + FILE, b"m")),
    "no name": form((b"Content-Disposition: form-data", b"m")),
    "two names": form((b'Content-Disposition: form-data; name="x"; name="model"', b"m")),
    "an encoded name": form((b"Content-Disposition: form-data; name*=UTF-8''model", b"m")),
    "both names": form((MODEL + b"; name*=UTF-8''x", b"m")),
    "an escape in a name": form((rb'Content-Disposition: form-data; name="mo\del"', b"m")),
    "an escaped quote": form((FILE.replace(b"a.wav", rb"a\"; name=\"model"), b"m")),
    "not form-data": form((MODEL.replace(b"form-data", b"attachment"), b"m")),
    "a folded head": form((b'Content-Disposition: form-data;\r\n name="model"', b"m")),
    "space before a colon": form((b'Content-Disposition : form-data; name="model"', b"m")),
    "another charset": form((MODEL + b"\r\nContent-Type: text/plain; charset=utf-16", b"m")),
    "an encoding": form((MODEL + b"\r\nContent-Transfer-Encoding: base64", b"bQ==")),
    "not UTF-8": form((MODEL, b"\xff")),
    "a model too long": form((MODEL, b"m" * (MAX_MODEL_BYTES + 1))),
    "a head too long": form((MODEL + b"\r\nX: " + b"y" * MAX_PART_HEAD_BYTES, b"m")),
    "a model with an empty file name": form((MODEL + b'; filename=""', b"m")),
    "a model with a file name of white space": form((MODEL + b'; filename=" "', b"m")),
    "a model with an encoded file name": form((MODEL + b"; filename*=UTF-8''x", b"m")),
    "a model in capitals": form((MODEL.replace(b"model", b"Model"), b"m")),
    "two models": form((MODEL, b"m"), (MODEL, b"n")),
    "the same model twice": form((MODEL, b"m"), (FILE, b"x"), (MODEL, b"m")),
    "too many parts": form(*[(FILE, b"")] * (MAX_PARTS + 1)),
}  # fmt: skip
