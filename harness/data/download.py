"""Fetching and verifying data sets."""

import contextlib
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness import registry
from harness.data.checksums import CHUNK, checksum
from harness.data.locate import file_of
from harness.data.roots import data_root
from harness.errors import HarnessError

ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Verified:
    """One file of a source."""

    file: str
    verdict: str
    good: bool


def verify(name: str) -> Iterator[Verified]:
    """Compare each file of a source with its stated checksum, if any."""
    info = registry.entry("data", name).metadata
    if not info.files:
        yield Verified("-", "generated: nothing to verify", True)
    for file in info.files:
        path, stated = file_of(file), info.sha256.get(file)
        if path is None or not path.exists():
            yield Verified(file, f"missing ({path or 'package not installed'}); 'harness data fetch {name}'", False)
        elif stated is None or path.is_dir():
            yield Verified(file, "here; no checksum is stated", True)
        else:
            good = checksum(path) == stated
            differs = f"differs from the stated sha256 {stated[:12]}…; fetch it again"
            yield Verified(file, "good" if good else differs, good)


def fetch(name: str) -> Iterator[str]:
    """Get what is missing of a source; yields a line for each file.

    Raises:
        HarnessError: it must be fetched by hand (the message says how), the network does not answer, the disk is
            full, or a checksum differs.
    """
    info = registry.entry("data", name).metadata
    kind, _, where = str(info.fetch).partition(":")
    if kind == "shipped":
        yield "shipped with an installed package or generated: nothing to fetch"
        return
    if kind == "hand":
        raise HarnessError(f"'{name}' must be fetched by hand: {where} (expected below {data_root()})")
    if kind == "torchvision":
        yield _by_torchvision(name, where, info.files)
        return
    if kind != "http":
        raise HarnessError(f"'{name}' is fetched by '{kind}', which this version does not support")
    targets = [file for file in info.files if file.startswith("data:")]
    for file in targets:
        path, stated = data_root() / file.partition(":")[2], info.sha256.get(file)
        here = path.exists() and (stated is None or checksum(path) == stated)
        if not here:
            download(where if len(targets) == 1 else f"{where.rstrip('/')}/{path.name}", path, stated)
        yield f"{path}: {'here already' if here else 'fetched'}"


def _by_torchvision(name: str, dataset: str, files: tuple[str, ...]) -> str:
    """Let torchvision fetch and unpack a data set into its folder."""
    from torchvision import datasets

    folder = (data_root() / files[0].partition(":")[2]).parent
    try:
        getattr(datasets, dataset)(root=str(folder.parent), download=True)
    except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
        reason = getattr(error, "reason", error)
        raise HarnessError(
            f"torchvision cannot reach the home of '{name}' ({reason}); on a machine without a network put its files "
            f"into {folder}"
        ) from error
    except (OSError, RuntimeError) as error:
        raise HarnessError(f"'{name}' cannot be fetched into {folder.parent}: {error}") from error
    return f"{folder}: fetched by torchvision"


def download(url: str, path: Path, sha256: str | None) -> None:
    """Download to ``PATH.part`` with resume, verify, rename into place.

    Raises:
        HarnessError: network, disk or checksum; a part that verifies badly is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _continue(url, part)
            break
        except urllib.error.HTTPError as error:
            if error.code == 416:  # the part is complete already
                break
            raise HarnessError(f"{url} answers {error.code} {error.reason}") from error
        except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
            if attempt == ATTEMPTS:
                reason = getattr(error, "reason", error)
                raise HarnessError(
                    f"{url} cannot be reached ({reason}); on a machine without a network put the file at {path}"
                ) from error
        except OSError as error:
            part.unlink(missing_ok=True)
            raise HarnessError(f"{path} cannot be written: {error.strerror or error}") from error
    if sha256 is not None and checksum(part) != sha256:
        part.unlink()
        raise HarnessError(f"{url}: the downloaded file has another sha256 than the stated one; it was removed")
    part.replace(path)


def _continue(url: str, part: Path) -> None:
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    with contextlib.closing(urllib.request.urlopen(request, timeout=60)) as answer:
        resumed = answer.status == 206
        expected = answer.headers.get("Content-Length")
        with part.open("ab" if resumed else "wb") as file:
            before = file.tell()
            shutil.copyfileobj(answer, file, CHUNK)
            if expected is not None and file.tell() - before < int(expected):
                raise ConnectionError("the connection ended before the file did")
