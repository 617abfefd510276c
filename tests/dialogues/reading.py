"""Reads ``.dialogue`` files; see README.rst beside it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).parent
#: What the configuration says of the domains that the dialogues ask about.
ADDRESSES = FOLDER / "addresses.toml"
FILES = sorted(FOLDER.glob("*.dialogue"))


@dataclass
class Dialogue:
    """One file, read."""

    name: str
    client: str = "203.0.113.9"
    listener: str = "mx"
    steps: list[tuple[bytes, list[str]]] = field(default_factory=list)  # octets sent, replies that follow
    closed: bool = False
    messages: int | None = None
    tls: str = ""  # "no": in clear alone; "yes": over TLS alone

    @property
    def octets(self) -> bytes:
        return b"".join(sent for sent, _ in self.steps)

    @property
    def replies(self) -> list[str]:
        return [reply for _, replies in self.steps for reply in replies]


def unescape(text: str) -> bytes:
    return re.sub(
        rb"\\(x[0-9a-f]{2}|[rn0\\])",
        lambda match: bytes([int(match[1][1:], 16)]) if match[1][:1] == b"x" else
        {b"r": b"\r", b"n": b"\n", b"0": b"\0", b"\\": b"\\"}[match[1]],
        text.encode("utf-8"),
    )  # fmt: skip


def load(path: Path) -> Dialogue:
    """Read a dialogue; raises ``ValueError`` for a line that is none."""
    dialogue = Dialogue(path.stem, steps=[(b"", [])])
    for line in path.read_text(encoding="utf-8").splitlines():
        kind, _, rest = line.partition(": ") if ": " in line else (line.removesuffix(":"), "", "")
        if kind in ("C", "c"):
            if dialogue.steps[-1][1] or not dialogue.steps[-1][0]:
                dialogue.steps.append((b"", []))
            sent, replies = dialogue.steps[-1]
            dialogue.steps[-1] = (sent + unescape(rest) + (b"\r\n" if kind == "C" else b""), replies)
        elif kind == "S":
            dialogue.steps[-1][1].append(rest)
        elif kind == "client":
            dialogue.client = rest
        elif kind == "listener":
            dialogue.listener = rest
        elif kind == "tls":
            dialogue.tls = rest
        elif kind == "messages":
            dialogue.messages = int(rest)
        elif kind == "closed":
            dialogue.closed = True
        elif not line.startswith("#") and line:
            raise ValueError(f"{path}: {line!r}")
    return dialogue
