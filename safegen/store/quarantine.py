"""The quarantine: drafts about whose harm the judges disagree, encrypted until a person reviews them.

Each draft is a file `run/quarantine/<draft id>.json` with the second at which it expires and a Fernet
token of the record. A draft that a person accepts moves to `run/reviewed/` as plain JSON, so that a
shard that runs again keeps it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from safegen.core.errors import AssetNotFound, ConfigError, StoreDamaged, UserError
from safegen.core.types import Record
from safegen.store.json_files import read_json, write_json
from safegen.store.run_folder import RunFolder
from safegen.store.schema import record_from_row, record_row

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

DAY_S = 86_400
INSTALL_HINT = "install it with `pip install 'safegen[quarantine]'`"
NEW_KEY_HINT = (
    'python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"'
)


class Quarantine:
    """The encrypted drafts of a run.

    Args:
        folder: the run.
        key: a Fernet key, 32 bytes in URL-safe base64; it is never stored.
        days: days after which a draft expires.

    Raises:
        ConfigError: `cryptography` is not installed, or the key is none.
    """

    def __init__(self, folder: RunFolder, key: str, *, days: int) -> None:
        self._folder, self._days = folder, days
        self._fernet = _make_fernet(key)

    def put(self, record: Record, *, now: float) -> None:
        """Encrypt a record.

        Args:
            record: the record with its text.
            now: seconds since 1970.

        Raises:
            DiskFailed: the file cannot be written.
        """
        text = json.dumps(record_row(record), ensure_ascii=False)
        token = self._fernet.encrypt_at_time(text.encode(), int(now)).decode()
        expires = int(now) + self._days * DAY_S
        write_json(_path(self._folder, record.draft.draft_id), {"expires": expires, "token": token})

    def read_all(self) -> Iterator[Record]:
        """Read all records, by draft id.

        Raises:
            UserError: the key is another one.
            StoreDamaged: a file cannot be read.
        """
        for path in _list_files(self._folder):
            yield self._read(path)

    def read(self, start: str) -> Record:
        """Read the record whose draft id begins with some characters.

        Raises:
            AssetNotFound: there is none, or more than one.
            UserError: the key is another one.
            StoreDamaged: the file cannot be read.
        """
        paths = [p for p in _list_files(self._folder) if start and p.stem.startswith(start)]
        if len(paths) != 1:
            problem = "no draft" if not paths else f"{len(paths)} drafts"
            raise AssetNotFound(
                f"{problem} in the quarantine of `{self._folder.output}` with an id that begins with"
                f" `{start}`; `safegen quarantine list {self._folder.output}` lists them"
            )
        return self._read(paths[0])

    def _read(self, path: Path) -> Record:
        from cryptography.fernet import InvalidToken

        try:
            text = self._fernet.decrypt(str(read_json(path).get("token")).encode())
        except InvalidToken as e:
            raise UserError(
                f"`{path}` was not encrypted with this key; set the key of the run that wrote it"
            ) from e
        try:
            return record_from_row(json.loads(text))
        except (ValueError, TypeError, KeyError) as e:
            raise StoreDamaged(f"`{path}` holds no record of this version of safegen") from e


def describe_missing_key(key_env: str) -> str | None:
    """Describe the loss of disputed drafts if the variable of the key is not set; None if it is."""
    if os.environ.get(key_env):
        return None
    return (
        f"`{key_env}` is not set, so drafts about whose harm the judges disagree are deleted; set it to the"
        f" key of `judges.quarantine`: `export {key_env}=…`"
    )


def count_waiting(folder: RunFolder) -> int:
    """Count the drafts that wait for a person; no key is needed."""
    return len(_list_files(folder))


def delete_expired(folder: RunFolder, *, now: float) -> int:
    """Delete the drafts whose time is over, without a key; return their number.

    A file that cannot be read is deleted too, because nothing says when it expires.
    """
    expired = [path for path in _list_files(folder) if _read_expiry(path) <= now]
    for path in expired:
        path.unlink(missing_ok=True)
    return len(expired)


def accept(folder: RunFolder, record: Record) -> None:
    """Store the decision of a person that the draft of a record is acceptable."""
    draft = replace(record.draft, withheld=False)
    accepted = replace(record, draft=draft, accepted=True, accepted_by="human", reason=None)
    write_json(_reviewed(folder, draft.draft_id), record_row(accepted))


def delete(folder: RunFolder, draft_id: str) -> None:
    """Delete a draft from the quarantine."""
    _path(folder, draft_id).unlink(missing_ok=True)


def restore_accepted(folder: RunFolder, records: Sequence[Record]) -> list[Record]:
    """Replace withheld records by those that a person accepted.

    A decision about another expectation of the same prompt does not count.
    """
    if not (folder.root / "reviewed").is_dir():
        return list(records)
    return [_restore(folder, record) for record in records]


def _restore(folder: RunFolder, record: Record) -> Record:
    path = _reviewed(folder, record.draft.draft_id)
    if not record.draft.withheld or not path.exists():
        return record
    try:
        accepted = record_from_row(read_json(path))
    except (ValueError, TypeError, KeyError) as e:
        raise StoreDamaged(
            f"`{path}` holds no record; delete it, and review the draft again"
        ) from e
    is_same = (accepted.scenario, accepted.expectation) == (record.scenario, record.expectation)
    return accepted if is_same else record


def _make_fernet(key: str) -> Fernet:
    try:
        from cryptography.fernet import Fernet
    except ImportError as e:
        raise ConfigError(
            f"`judges.quarantine` needs the package `cryptography`; {INSTALL_HINT}"
        ) from e
    try:
        return Fernet(key)
    except ValueError as e:
        raise ConfigError(
            "the key of `judges.quarantine` is not 32 bytes in URL-safe base64; make one with"
            f" `{NEW_KEY_HINT}`"
        ) from e


def _path(folder: RunFolder, draft_id: str) -> Path:
    return folder.root / "quarantine" / f"{draft_id}.json"


def _reviewed(folder: RunFolder, draft_id: str) -> Path:
    return folder.root / "reviewed" / f"{draft_id}.json"


def _list_files(folder: RunFolder) -> list[Path]:
    return sorted((folder.root / "quarantine").glob("*.json"))


def _read_expiry(path: Path) -> float:
    try:
        expires = read_json(path).get("expires")
    except StoreDamaged:
        return 0
    return expires if isinstance(expires, int) else 0
