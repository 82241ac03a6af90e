"""The files that `--prompts` names: paths, folders of shards and globs, each with its format."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from glob import has_magic
from pathlib import Path
from typing import Literal, NamedTuple

from safegen.core.errors import ConfigError
from safegen.store import parquet

FileFormat = Literal["csv", "json", "parquet", "arrow"]
Compression = Literal["gzip", "zstd"]
FORMATS: Mapping[str, FileFormat] = {
    ".csv": "csv",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".parquet": "parquet",
    ".tsv": "csv",
    ".arrow": "arrow",
    ".feather": "arrow",
}
COMPRESSIONS: Mapping[str, Compression] = {".gz": "gzip", ".zst": "zstd"}
ARCHIVES = frozenset((".zip", ".tar", ".tgz", ".7z", ".rar"))
OTHER_COMPRESSIONS = frozenset((".bz2", ".xz", ".lz4", ".br", ".zstd"))
SIDECARS = frozenset(("dataset_info.json", "state.json", "dataset_dict.json", "dataset_infos.json"))
"""Files that Hugging Face `datasets` writes next to shards."""
# Bounds against a wrong file (a disk image, a database dump), far above any list of prompts.
MAX_BYTES = 4 * 2**30
MAX_FILES = 10_000
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
_HUB_ADDRESS = re.compile(
    r"(?:hf:/+|https?:/+(?:www\.)?huggingface\.co/)datasets/(?P<repository>[\w.-]+/[\w.-]+)",
    re.ASCII | re.IGNORECASE,
)


class InputFile(NamedTuple):
    """A file of rows."""

    path: Path
    format: FileFormat
    compression: Compression | None = None

    @property
    def format_suffix(self) -> str:
        """Suffix of the format in lower case, without that of the compression."""
        return Path(self.path.stem if self.compression else self.path.name).suffix.lower()


def find_files(names: Sequence[str | Path]) -> tuple[InputFile, ...]:
    """Find the files that paths, folders and globs name, in the order of their paths.

    Raises:
        ConfigError: a name is an address, matches no file, or names a file of an unknown format.
    """
    paths: dict[Path, Path] = {}
    for name in names:
        for path in _expand(str(name)):
            paths.setdefault(path.absolute(), path)
    if len(paths) > MAX_FILES:
        raise ConfigError(f"`--prompts` names {len(paths):,} files; at most {MAX_FILES:,}")
    # The order of a folder differs between machines, and row numbers depend on it.
    return tuple(_identify(path) for path in sorted(paths.values(), key=str))


def _expand(name: str) -> list[Path]:
    _refuse_address(name)
    if "\0" in name:  # `stat` raises a ValueError for it
        raise ConfigError(f"{name}: cannot be read (the path contains a NUL byte)")
    path = Path(name)
    with translate_os_errors(path):
        # A file may have a name such as `rows[1].csv`.
        if path.is_dir():
            return _list_shards(path)
        if has_magic(name) and not path.exists():
            return _match_glob(path)
    return [path]


def _refuse_address(name: str) -> None:
    scheme = _ADDRESS.match(name)
    if scheme is None:
        return
    if hub := _HUB_ADDRESS.match(name):
        hint = f"`hf download --repo-type dataset {hub['repository']} --local-dir FOLDER`"
    elif scheme[1].lower() in ("http", "https", "ftp"):
        hint = f"`curl -LO {name}`"
    elif scheme[1].lower() == "file":
        raise ConfigError(f"{name}: is an address; give the path without `file:`")
    else:
        hint = "copy it with the tool of that store"
    raise ConfigError(
        f"{name}: is an address, and only local files are read; download it first: {hint}"
    )


def _list_shards(folder: Path) -> list[Path]:
    entries = sorted(folder.iterdir())
    paths = [p for p in entries if _is_shard(p) and p.is_file()]
    suffixes = sorted({"".join(p.suffixes[-2:]) if _is_compressed(p) else p.suffix for p in paths})
    # `datasets` and many exports write the same rows in two formats.
    if len({_split_suffixes(p).format for p in paths}) > 1:
        raise ConfigError(
            f"{folder}: holds files of several formats ({', '.join(suffixes)}), which may repeat each"
            f" other; name those of one format, such as `{folder}/*{suffixes[0]}`"
        )
    if paths:
        return paths
    folders = [p.name for p in entries if p.is_dir() and not p.name.startswith(".")]
    hint = f"; its folders: {', '.join(f'`{f}`' for f in folders[:8])}" if folders else ""
    raise ConfigError(f"{folder}: holds no files of rows ({_list_suffixes()}){hint}")


def _is_shard(path: Path) -> bool:
    # `_` marks files such as `_SUCCESS`, `.` hidden ones.
    is_data = not path.name.startswith((".", "_")) and path.name not in SIDECARS
    return is_data and _split_suffixes(path).format is not None


def _match_glob(pattern: Path) -> list[Path]:
    parts = pattern.parts
    first = next(i for i, part in enumerate(parts) if has_magic(part))
    root = Path(*parts[:first]) if first else Path()
    try:
        matches = root.glob(str(Path(*parts[first:])))
        paths = [p for p in matches if p.is_file() and not p.name.startswith(".")]
    except ValueError as e:
        raise ConfigError(f"{pattern}: is not a pattern of files ({e})") from e
    if not paths:
        raise ConfigError(f"{pattern}: no file matches the pattern")
    return paths


def _is_compressed(path: Path) -> bool:
    return path.suffix.lower() in COMPRESSIONS


class _NameSuffixes(NamedTuple):
    format: FileFormat | None
    compression: Compression | None


def _split_suffixes(path: Path) -> _NameSuffixes:
    compression = COMPRESSIONS.get(path.suffix.lower())
    name = Path(path.stem) if compression else path
    return _NameSuffixes(FORMATS.get(name.suffix.lower()), compression)


def _list_suffixes() -> str:
    return ", ".join(f"`{suffix}`" for suffix in FORMATS)


def _identify(path: Path) -> InputFile:
    """Determine format and compression by the name, and check them against the first bytes."""
    format_, compression = _split_suffixes(path)
    inner = Path(path.stem).suffix.lower() if compression else path.suffix.lower()
    with translate_os_errors(path):
        stats = path.stat()
        # Opening a pipe would block, and a device may be endless.
        if not stat.S_ISREG(stats.st_mode):
            raise ConfigError(f"{path}: is not a regular file; name one")
    if inner in ARCHIVES:
        raise ConfigError(f"{path}: is an archive; unpack it first and name its files")
    if inner in OTHER_COMPRESSIONS or (compression and inner in COMPRESSIONS):
        raise ConfigError(f"{path}: decompress it first; `.gz` and `.zst` are read, once")
    if format_ is None:
        raise ConfigError(
            f"{path}: unknown format; files of rows end in {_list_suffixes()}, and can be compressed as"
            " `.gz` or `.zst`"
        )
    if compression and format_ in ("parquet", "arrow"):
        raise ConfigError(f"{path}: decompress it first; {format_} is compressed inside")
    if stats.st_size > MAX_BYTES:
        raise ConfigError(f"{path}: is larger than {MAX_BYTES // 2**30} GiB; split it")
    if parquet.is_lfs_pointer(path):
        raise ConfigError(f"{path}: is a git-lfs pointer, not data; run `git lfs pull`")
    with translate_os_errors(path), path.open("rb") as file:
        check_head(path, file.read(8), expected=compression or format_)
    return InputFile(path, format_, compression)


class _Magic(NamedTuple):
    starts: tuple[bytes, ...]
    content: str
    hint: str


_MAGICS: tuple[_Magic, ...] = (
    _Magic((b"PAR1",), "Parquet", "name it `.parquet`"),
    _Magic((b"ARROW1",), "Arrow", "name it `.arrow`"),
    _Magic((b"\x1f\x8b",), "gzip", "add `.gz` to its name"),
    _Magic((b"\x28\xb5\x2f\xfd",), "zstd", "add `.zst` to its name"),
    _Magic((b"PK\x03\x04", b"PK\x05\x06"), "a zip archive or a spreadsheet", "save it as CSV"),
    _Magic((b"BZh", b"\xfd7zXZ\0", b"7z\xbc\xaf"), "a compressed file", "decompress it first"),
    _Magic((b"SQLite f",), "an SQLite database", "export the table as CSV"),
    _Magic((b"%PDF",), "a PDF", "save the table as CSV"),
)
_IS_EXPECTED: Mapping[str, Callable[[bytes], bool]] = {
    "parquet": lambda head: head.startswith(b"PAR1"),
    # A stream has no magic: it starts with a marker or the length of its schema.
    "arrow": lambda head: head.startswith((b"ARROW1", b"\xff\xff\xff\xff")),
    "gzip": lambda head: head.startswith(b"\x1f\x8b"),
    "zstd": lambda head: head.startswith(b"\x28\xb5\x2f\xfd"),
}
_TITLES = {"parquet": "Parquet", "arrow": "Arrow"}


def check_head(path: Path, head: bytes, *, expected: str) -> None:
    """Reject a file whose first bytes contradict the suffix of its name.

    Raises:
        ConfigError: the content has another format.
    """
    is_expected = _IS_EXPECTED.get(expected)
    if is_expected is not None:
        if head and not is_expected(head):
            title = _TITLES.get(expected, expected)
            raise ConfigError(f"{path}: is not {title}; give it the suffix of its format")
        return
    for magic in _MAGICS:
        if head.startswith(magic.starts):
            raise ConfigError(f"{path}: is {magic.content}; {magic.hint}")


def list_names(files: Sequence[InputFile], most: int = 3) -> str:
    """List the first paths of files, for messages."""
    more = f" and {len(files) - most:,} more" if len(files) > most else ""
    return ", ".join(str(file.path) for file in files[:most]) + more


@contextmanager
def translate_os_errors(path: Path) -> Generator[None]:
    """Translate an error of the system into a `ConfigError` that names the path."""
    try:
        yield
    except FileNotFoundError as e:
        raise ConfigError(f"{path}: no such file") from e
    except OSError as e:
        raise ConfigError(f"{path}: cannot be read ({(e.strerror or str(e)).lower()})") from e
