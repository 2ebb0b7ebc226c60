"""What is at a path: nothing, a file, a link or a folder."""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Entry:
    """``kind`` is ``absent``, ``file``, ``link`` or ``folder``."""

    kind: str
    mode: int = 0
    uid: int = 0
    gid: int = 0
    content: bytes = b""
    """Of a file; of a link, its target."""

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    def to_json(self) -> dict[str, Any]:
        if self.kind == "absent":
            return {"kind": self.kind}
        content = base64.b64encode(self.content).decode()
        return {
            "kind": self.kind,
            "mode": f"{self.mode:04o}",
            "uid": self.uid,
            "gid": self.gid,
            "content": content,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Entry":
        if values["kind"] == "absent":
            return ABSENT
        content = base64.b64decode(values["content"])
        mode = int(values["mode"], 8)
        return cls(values["kind"], mode, int(values["uid"]), int(values["gid"]), content)


ABSENT = Entry("absent")


@dataclass(frozen=True)
class Change:
    """A path before and after a step."""

    before: Entry
    after: Entry

    @property
    def makes_folder(self) -> bool:
        """Whether a folder was made, which is removed if it is empty."""
        return self.before == ABSENT and self.after.kind == "folder"

    @property
    def reversed(self) -> "Change":
        return Change(self.after, self.before)


Changes = Mapping[str, Change]


def merged(older: Changes, newer: Changes) -> dict[str, Change]:
    """Return both as one, a path that came back to what it was left out."""
    result = dict(older)
    for name, change in newer.items():
        before = result[name].before if name in result else change.before
        result[name] = Change(before, change.after)
        if before == change.after:
            del result[name]
    return result


def difference(before: Mapping[str, Entry], after: Mapping[str, Entry]) -> dict[str, Change]:
    """Return what changed between two looks at the same paths."""
    names = sorted({*before, *after})
    pairs = {name: Change(before.get(name, ABSENT), after.get(name, ABSENT)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair.before != pair.after}
