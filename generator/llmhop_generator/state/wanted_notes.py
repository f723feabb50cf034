"""The notes that models will leave once they run as wanted, kept for `status` meanwhile.

A unit on disk is the one that its model runs by, so it can't tell that another is wanted.
"""

import json

from llmhop_generator.errors import GeneratorError
from llmhop_generator.host import files
from llmhop_generator.layout import WANTED_NOTES
from llmhop_generator.planning.steps import Wanted
from llmhop_generator.render.start_note import StartNote, note_of


def keep_wanted_notes(wanted: Wanted) -> None:
    """Keep the notes of the units that a configuration asks for.

    Raises:
        GeneratorError: they can't be written.
    """
    notes = {name: note_of(text) for name, text in wanted.sources.items()}
    lines = {name: str(note) for name, note in notes.items() if note is not None}
    text = json.dumps({"uid": wanted.uid, "notes": lines}, indent=2) + "\n"
    if not files.is_written(WANTED_NOTES, text, mode=0o600):
        files.write(WANTED_NOTES, text, mode=0o600)


def last_user() -> int | None:
    """The user that the last configuration's models are of; None where nothing tells."""
    try:
        uid = json.loads(files.read(WANTED_NOTES) or "{}").get("uid")
    except (GeneratorError, ValueError, AttributeError):
        return None
    return uid if isinstance(uid, int) else None


def read_wanted_notes(uid: int) -> dict[str, StartNote]:
    """Read the notes that are wanted of a user's models, by the names of their sources."""
    try:
        kept = json.loads(files.read(WANTED_NOTES) or "{}")
        notes = kept["notes"] if kept.get("uid") == uid else {}
        found = {name: StartNote.parse(line) for name, line in notes.items()}
    except (GeneratorError, ValueError, KeyError, AttributeError):
        return {}  # what is damaged tells nothing
    return {name: note for name, note in found.items() if note is not None}
