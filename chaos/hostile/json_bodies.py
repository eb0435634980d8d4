"""Bodies of JSON that cost a reader more than they cost their sender."""

from __future__ import annotations

from collections.abc import Iterator

MIB = 1024 * 1024

Hostile = Iterator[tuple[str, bytes]]
"""What it has too much of, and a body."""


def hostile_bodies(size: int = MIB) -> Hostile:
    """Sixty bodies of about `size` bytes, none of which is a request."""
    yield from _structure(size)
    yield from _fields(size)
    yield from _strings(size)
    yield from _numbers(size)
    yield from _broken(size)


def _structure(size: int) -> Hostile:
    yield "brackets", b"[" * size
    yield "braces", b"{" * size
    yield "nested objects", b'{"a":' * (size // 5)
    yield "nested arrays that end", b'{"a":' + b"[" * (size // 2) + b"]" * (size // 2) + b"}"
    yield "a thousand levels", b'{"a":' + b"[" * 1000 + b"]" * 1000 + b"}"
    yield "lists in lists", b'{"a":[' + (b"[" * 300 + b"]" * 300 + b",") * (size // 601) + b"1]}"
    yield "empty arrays", b'{"a":[' + b"[]," * (size // 3) + b"1]}"
    yield "empty objects", b'{"a":[' + b"{}," * (size // 3) + b"1]}"
    yield "empty strings", b'{"a":[' + b'"",' * (size // 3) + b"1]}"
    yield "commas", b'{"a":[' + b"," * size + b"]}"
    yield "colons", b"{" + b":" * size + b"}"
    yield "spaces", b'{"a":' + b" " * size + b"1}"
    yield "line breaks", b'{"a":' + b"\r\n" * (size // 2) + b"1}"
    yield "nulls", b'{"a":[' + b"null," * (size // 5) + b"null]}"
    yield "truths", b'{"prompt":[' + b"true," * (size // 5) + b"false]}"
    yield "an array of objects", b"[" + b'{"a":1},' * (size // 8) + b"1]"
    yield "messages without end", b'{"messages":[' + b'{"role":"user","content":"x"},' * (size // 30) + b"1]}"
    yield "images without end", b'{"images":[' + b'"x",' * (size // 4) + b'"x"]}'


def _fields(size: int) -> Hostile:
    numbered = b",".join(b'"k%d":1' % number for number in range(size // 12))
    few = b",".join(b'"k%d":1' % number for number in range(1000))
    yield "unknown fields", b"{" + numbered + b"}"
    yield "a thousand unknown fields", b"{" + few + b"}"
    yield "unknown fields below", b'{"a":{' + numbered + b"}}"
    yield "a thousand fields below", b'{"prompt":{' + few + b"}}"
    yield "one field again and again", b"{" + b'"prompt":"a",' * (size // 13) + b'"prompt":"a"}'
    yield "one field twice", b'{"prompt":"a","prompt":"b"}'
    yield "one field twice below", b'{"prompt":{"a":1,"a":2}}'
    yield "one field twice, once escaped", b'{"prompt":"a","\\u0070rompt":"b"}'
    yield "a name as long as the body", b'{"' + b"k" * size + b'":1}'
    yield "long names", b"{" + b",".join(b'"' + b"k" * 70_000 + b'%d":1' % n for n in range(8)) + b"}"
    yield "a long name twice", b'{"' + b"k" * 70_000 + b'":1,"' + b"k" * 70_000 + b'":1}'
    yield "a name of escapes", b'{"' + b"\\u0000" * (size // 6) + b'":1}'
    yield "names of equal hashes", b"{" + b",".join(b'"%d":1' % (n << 61) for n in range(5000)) + b"}"


def _strings(size: int) -> Hostile:
    yield "a prompt as long as the body", b'{"prompt":"' + b"x" * size + b'"}'
    yield "a prompt of escapes", b'{"prompt":"' + b"\\n" * (size // 2) + b'"}'
    yield "a prompt of quotes", b'{"prompt":"' + b'\\"' * (size // 2) + b'"}'
    yield "a prompt of backslashes", b'{"prompt":"' + b"\\\\" * (size // 2) + b'"}'
    yield "a prompt of escaped letters", b'{"prompt":"' + b"\\u0061" * (size // 6) + b'"}'
    yield "a prompt of half characters", b'{"prompt":"' + b"\\ud800" * (size // 6) + b'"}'
    yield "a prompt of whole characters", b'{"prompt":"' + b"\\ud83d\\ude00" * (size // 12) + b'\\u0000"}'
    yield "a prompt of NUL", b'{"prompt":"' + b"\\u0000" * 1000 + b'"}'
    yield "a prompt of raw NUL", b'{"prompt":"' + b"\0" * size + b'"}'
    yield "a prompt of raw line breaks", b'{"prompt":"' + b"\n" * size + b'"}'
    yield "a prompt of two bytes each", '{{"prompt":"{}"}}'.format("ü" * (size // 2)).encode()
    yield "prompts of 60 KB", b'{"a":[' + b",".join([b'"' + b"x" * 60_000 + b'"'] * (size // 60_000)) + b"]}"
    yield (
        "escapes of 60 KB",
        b'{"a":[' + b",".join([b'"' + b"\\n" * 30_000 + b'"'] * (size // 60_000)) + b"]}",
    )
    yield "a string alone", b'"' + b"x" * size + b'"'
    yield "quotes", b'"' * size
    yield "an image of no known type", b'{"prompt":"a","image":"data:;base64,' + b"A" * size + b'"}'
    yield "a size as long as the body", b'{"prompt":"a","size":"' + b"1" * size + b'"}'


def _numbers(size: int) -> Hostile:
    yield "numbers", b'{"a":[' + b"1," * (size // 2) + b"1]}"
    yield "digits", b'{"n":' + b"1" * size + b"}"
    yield "decimals", b'{"n":0.' + b"1" * size + b"}"
    yield "an exponent", b'{"prompt":"a","n":1e999999999}'
    yield "no number", b'{"prompt":"a","n":NaN}'
    yield "infinity", b'{"prompt":"a","n":-Infinity}'
    yield "5,000 digits", b'{"prompt":"a","n":' + b"9" * 5000 + b"}"


def _broken(size: int) -> Hostile:
    yield "a string without an end", b'{"prompt":"' + b"x" * size
    yield "backslashes without an end", b'{"prompt":"' + b"\\" * size
    yield "an escape without an end", b'{"prompt":"' + b"x" * size + b"\\u00"
    yield "an unknown escape", b'{"prompt":"' + b"x" * size + b'\\x"}'
    yield "bytes that are not UTF-8", b'{"prompt":"' + b"\xff" * size + b'"}'
    yield "UTF-16", ('{"prompt":"' + "x" * (size // 2) + '"}').encode("utf-16")
    yield "something behind the end", b'{"prompt":"a"}' + b"x" * size
    yield "two marks of the byte order", b"\xef\xbb\xbf" * (size // 3) + b"{}"
