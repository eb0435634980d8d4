"""A folder for Postgres outside root's home, for a root whose system refuses user namespaces.

Postgres does not run as root, so it runs under a user id that no user of the system has. That id cannot enter
a home folder of mode 700, in which the data directory and the virtual environment may be, and no permission
there is changed for it. Instead it owns a folder of mode 700 with a copy of the programs, and the data. A
symbolic link in the data directory leads a later `up` to that folder, whose name contains the user id.
"""

import hashlib
import os
import pwd
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cli.stack.supervisor.errors import StackError

# systemd's table of user ids leaves 60578-61183 unused, and ids below 65536 exist in rootless containers too.
_FIRST_UID, _UIDS = 60600, 500
_PARTS = ("bin", "lib", "share")


@dataclass(frozen=True)
class UnprivilegedHome:
    """A folder owned by `uid`."""

    folder: Path
    uid: int

    @property
    def data(self) -> Path:
        """Postgres's data folder inside."""
        return self.folder / "data"

    def own(self, path: Path) -> None:
        """Give `path`, and what is below it, to the user id of this home."""
        give(path, self.uid)

    def programs(self, installation: Path, version: str) -> Path:
        """A copy of `installation`, made once for each `version` of the wheel."""
        copy = self.folder / f"postgres-{version}"
        if not copy.exists():
            unfinished = Path(tempfile.mkdtemp(prefix="copying-", dir=self.folder))
            _copy(installation, unfinished)
            self.own(unfinished)
            unfinished.rename(copy)
        return copy / installation.parent.name / installation.name


def _copy(installation: Path, folder: Path) -> None:
    """Copy what the programs need to run. They find the wheel's shared libraries by a relative path."""
    package = installation.parent
    for part in _PARTS:
        shutil.copytree(installation / part, folder / package.name / installation.name / part, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, folder / libraries.name, symlinks=True)


def give(path: Path, uid: int) -> None:
    """Make `path`, and what is below it, the property of user and group `uid`; links are not followed."""
    for place, folders, files in os.walk(path):
        for name in (*folders, *files):
            os.chown(Path(place, name), uid, uid, follow_symlinks=False)
    os.chown(path, uid, uid, follow_symlinks=False)


def existing(link: Path) -> UnprivilegedHome:
    """The home that `link` leads to.

    Raises:
        StackError: the folder is gone.
    """
    folder = link.readlink().parent
    if not folder.is_dir():
        raise StackError(
            f"The database of this stack was in {folder}, which is gone. Remove {link} to start anew."
        )
    return UnprivilegedHome(folder, int(folder.name.split("-")[1]))


def create(link: Path, base: Path | None = None) -> UnprivilegedHome:
    """Make a home below `base` (`/var/lib`, else the temporary folder), and `link`, which leads to its data.

    A cluster that is found in the place of `link` was made while namespaces were allowed; it is moved there.
    """
    uid = _free_uid(link)
    folder = Path(tempfile.mkdtemp(prefix=f"imagequeue-{uid}-", dir=base or _base()))
    home = UnprivilegedHome(folder, uid)
    if link.is_dir():
        shutil.move(link, home.data)
    home.own(folder)
    link.symlink_to(home.data)
    return home


def _base() -> Path:
    lasting = Path("/var/lib")
    return lasting if os.access(lasting, os.W_OK) else Path(tempfile.gettempdir())


def _free_uid(link: Path) -> int:
    start = int.from_bytes(hashlib.sha256(bytes(link.absolute())).digest()[:4])
    taken = {entry.pw_uid for entry in pwd.getpwall()}
    candidates = (_FIRST_UID + (start + step) % _UIDS for step in range(_UIDS))
    for uid in candidates:
        if uid not in taken:
            return uid
    raise StackError(
        f"All user ids from {_FIRST_UID} to {_FIRST_UID + _UIDS - 1} are taken; run as a normal user."
    )
