"""Reads the subset of libconfig that weir's configurations use into dicts, lists, strings, ints and bools."""
from __future__ import annotations

import re
from pathlib import Path
from typing import Any

TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*|\#[^\n]*|/\*.*?\*/)
      | (?P<string>"(?:\\.|[^"\\])*")
      | (?P<number>[-+]?(?:0[xX][0-9a-fA-F]+|\d+)L{0,2})
      | (?P<name>[A-Za-z*][-A-Za-z0-9_*]*)
      | (?P<mark>[=:;,(){}\[\]])""",
    re.VERBOSE | re.DOTALL,
)


class ConfigSyntax(Exception):
    """Not in the subset."""


def read_config(path: Path) -> dict[str, Any]:
    reader = _Reader(_tokens(path.read_text()))
    settings = reader.settings(end=None)
    return settings


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens: list[tuple[str, str]] = []
    offset = 0
    while offset < len(text):
        match = TOKEN.match(text, offset)
        if match is None:
            raise ConfigSyntax(f"line {text.count(chr(10), 0, offset) + 1}: {text[offset:offset + 20]!r}")
        kind = match.lastgroup or ""
        if kind != "space":
            tokens.append((kind, match.group()))
        offset = match.end()
    return tokens


class _Reader:
    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens = tokens
        self._next = 0

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._next] if self._next < len(self._tokens) else ("end", "")

    def _take(self, *allowed: str) -> str:
        kind, text = self._peek()
        if allowed and text not in allowed:
            raise ConfigSyntax(f"expected one of {allowed}, found {text!r}")
        self._next += 1
        return text

    def settings(self, end: str | None) -> dict[str, Any]:
        group: dict[str, Any] = {}
        while self._peek()[1] != (end or ""):
            name = self._take()
            self._take("=", ":")
            group[name] = self._value()
            while self._peek()[1] in (";", ","):
                self._take()
        if end:
            self._take(end)
        return group

    def _value(self) -> Any:
        kind, text = self._peek()
        self._next += 1
        if text == "{":
            return self.settings(end="}")
        if text in ("(", "["):
            return self._sequence(")" if text == "(" else "]")
        if kind == "string":
            value = _unquote(text)
            while self._peek()[0] == "string":  # adjacent strings are one
                value += _unquote(self._take())
            return value
        if kind == "number":
            return int(text.rstrip("L"), 0)
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        raise ConfigSyntax(f"no value: {text!r}")

    def _sequence(self, end: str) -> list[Any]:
        values: list[Any] = []
        while self._peek()[1] != end:
            values.append(self._value())
            if self._peek()[1] == ",":
                self._take()
        self._take(end)
        return values


def _unquote(text: str) -> str:
    return text[1:-1].replace('\\"', '"').replace("\\\\", "\\")
