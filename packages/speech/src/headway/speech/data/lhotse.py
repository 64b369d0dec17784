"""Manifests of Lhotse: cuts, and recordings with supervisions, as rows."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from headway.core.errors import InputError
from headway.core.reading import parse_json, read_lines

RECORDINGS, SUPERVISIONS = "recordings", "supervisions"
# What is done to samples when a recording is read, and leaves its times as they are.
HARMLESS = frozenset({"Resample"})

Row = dict[str, Any]


def is_lhotse(row: Any) -> bool:
    """Returns whether a row is a cut, a supervision or a recording of Lhotse."""
    if not isinstance(row, dict):
        return False
    cut = SUPERVISIONS in row or str(row.get("type", "")).endswith("Cut")
    return cut or "recording_id" in row or ("sources" in row and "sampling_rate" in row)


class LhotseRows:
    """Turns what Lhotse wrote into rows: one for each supervision, or for a cut or recording without any.

    Args:
        path: The manifest. The recordings of ``X_supervisions_Y.jsonl`` stand in ``X_recordings_Y.jsonl``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._recordings: dict[str, Row] | None = None

    def rows(self, row: Row, where: str) -> Iterator[Row | InputError]:
        """Yields what a cut, a supervision or a recording says.

        Args:
            row: Of the file.
            where: File and line, for messages.
        """
        try:
            yield from self._rows(row, where)
        except InputError as error:
            yield error
        except (TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
            lacking = f"it has no {error}" if isinstance(error, KeyError) else str(error)
            yield InputError(where, f"is no cut, supervision or recording of Lhotse ({lacking})")

    def _rows(self, row: Row, where: str) -> Iterator[Row]:
        if "recording_id" in row:
            recording = self._recording(row["recording_id"], where)
            yield self._row(recording, row, where)
        elif "sources" in row:
            yield self._row(row, {}, where)
        else:
            if row.get("type", "MonoCut") not in ("MonoCut", "MultiCut"):
                raise InputError(
                    where,
                    f"is a {row['type']}, which mixes recordings; write cuts of one recording each",
                )
            if not isinstance(row.get("recording"), dict):
                raise InputError(where, "has no recording; cuts of features alone cannot be heard")
            start, duration = float(row["start"]), float(row["duration"])
            for said in row.get(SUPERVISIONS) or [{"start": 0.0, "duration": duration}]:
                # Of a supervision that began before the cut or lasts longer, the part inside is heard.
                first = max(0.0, float(said["start"]))
                last = min(duration, float(said["start"]) + float(said["duration"]))
                # A cut of one channel is heard there, whatever its supervisions say.
                own = row.get("channel")
                channel = said.get("channel", own) if isinstance(own, list) else own
                inside = {"start": start + first, "duration": last - first, "channel": channel}
                yield self._row(row["recording"], {**said, **inside}, where)

    def _row(self, recording: Row, said: Mapping[str, Any], where: str) -> Row:
        altered = [
            str(one.get("name", one))
            for one in recording.get("transforms") or ()
            if one.get("name") not in HARMLESS
        ]
        if altered:
            raise InputError(
                where,
                f"its recording is altered ({altered[0]}), which is not read; write cuts before that",
            )
        channel = said.get("channel")
        if isinstance(channel, list):
            channel = channel[0] if len(channel) == 1 else None
        sources = recording["sources"]
        source = next((one for one in sources if channel in one["channels"]), sources[0])
        if channel is not None and channel not in source["channels"]:
            raise InputError(where, f"its recording has no channel {channel}")
        if source.get("type") != "file":
            raise InputError(
                where,
                f"its recording is a {source.get('type')!r}, which is neither run nor fetched; give a file",
            )
        found = {
            name: said.get(name) for name in ("text", "speaker", "language", "start", "duration")
        }
        if len(source["channels"]) > 1 and channel is not None:
            found["channel"] = source["channels"].index(channel)
        found["audio"] = self._found(str(source["source"]))
        return {name: value for name, value in found.items() if value is not None}

    def _found(self, source: str) -> str:
        """Returns where a recording lies: paths of Lhotse start where its program ran, above the manifest."""
        if "\0" in source or Path(source).is_absolute():
            return source
        folder = self.path.resolve().parent
        places = (base / source for base in (folder, *folder.parents))
        return next((str(place) for place in places if _is_file(place)), source)

    def _recording(self, name: str, where: str) -> Row:
        if self._recordings is None:
            self._recordings = self._read_recordings(where)
        if name not in self._recordings:
            raise InputError(where, f"there is no recording {name}")
        return self._recordings[name]

    def _read_recordings(self, where: str) -> dict[str, Row]:
        path = self.path.with_name(self.path.name.replace(SUPERVISIONS, RECORDINGS))
        if path == self.path or not path.is_file():
            raise InputError(
                where, f"needs its recordings in {path.name} beside it, or give the cuts of both"
            )
        lines = [(n, line) for n, line in read_lines(path, "manifest") if line.strip()]
        rows = (parse_json(line, f"{path}:{number}") for number, line in lines)
        return {str(row["id"]): row for row in rows if isinstance(row, dict) and "id" in row}


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long
        return False
