# SPDX-License-Identifier: Apache-2.0
"""Slots as NV indices of a TPM 2.0, through Debian's tpm2-tools. Secrets cross pipes only: no argument, no file.

Content of an index: "WAYSLOT1", 16 random bytes (the tag), the secret. A handle is the index and the tag, so an index
that was used again does not answer for an older handle. The range of indices belongs to one keyring.

Order of writes: `store` defines an index, then writes it (the sole commit point; `recover` removes one that was only
defined). `destroy` overwrites secret and tag, then removes the index; cut in between, a slot with a tag of zeros is
left, which `handles` lists and the next writer of the keyring destroys.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from storage.errors import RootOfTrustBusyError, RootOfTrustError, SlotMissingError
from storage.root_of_trust import MAX_SLOT_BYTES

DEFAULT_TCTI = "device:/dev/tpmrm0"
OWNER_FIRST, OWNER_LAST = 0x01800000, 0x01BFFFFF  # indices that the TCG leaves to a machine's owner
DEFAULT_NV_BASE = 0x01805700
SLOT_COUNT = 8  # indices from the base on; two are held for a moment, the rest are room for what a crash left
TOOL_TIMEOUT_S = 8.0  # of one call; the slowest, a write, takes well under one second
RETRY_S = 0.05
MAX_OUTPUT_BYTES = 64 << 10

_MAGIC = b"WAYSLOT1"
_TAG_BYTES = 16
_HEAD_BYTES = len(_MAGIC) + _TAG_BYTES
_ATTRIBUTES = "authread|authwrite|no_da"
_ATTRIBUTES_VALUE = 0x02040004  # the same as the TPM says them, for an index that was never written
_HANDLE = re.compile(r"([0-9a-f]{8})-([0-9a-f]{32})")
_CODE = re.compile(r"\(0x([0-9A-Fa-f]{1,8})\)")
_DEVICE = "device:"
_INHERITED = ("PATH", "GLIBC_TUNABLES")  # the unit's second one has freed memory overwritten
_PACKAGE = "install it: `apt-get install tpm2-tools`"

# Response codes of the TPM (TPM 2.0 Library, part 2, 6.6).
_ABSENT = 0x18B
_UNWRITTEN = 0x14A
_NOT_OURS = frozenset(
    {0x12F, 0x148, 0x149, 0x921, 0x98E, 0x9A2}
)  # what reading an index of somebody else may answer
_TRANSIENT = frozenset(
    {0x908, 0x90A, 0x920, 0x922, 0x923}
)  # yielded, testing, NV rate, retry, NV unavailable
_TOLD = {
    0x101: "is in failure mode: take the power away and start again, then replace it",
    0x14B: "has no room for another index: remove those that nobody uses (`tpm2_getcap handles-nv-index`)",
    0x14C: "has that index already: another program uses this range, set storage.tpm_nv_base",
    0x185: "has its owner hierarchy turned off: turn it on in the board's firmware",
    0x921: "is locked out after wrong passwords: wait, or `tpm2_dictionarylockout -c`",
    0x98E: "wants a password of its owner: remove it with `tpm2_changeauth -c owner -p PASSWORD`",
    0x9A2: "wants a password of its owner: remove it with `tpm2_changeauth -c owner -p PASSWORD`",
}


class TpmRootOfTrust:
    """Slots in `SLOT_COUNT` NV indices from `nv_base` on; what it destroyed is gone from every copy of a disk."""

    name = "tpm2"
    best_effort = False

    def __init__(self, tcti: str = DEFAULT_TCTI, nv_base: int = DEFAULT_NV_BASE) -> None:
        if not OWNER_FIRST <= nv_base <= OWNER_LAST + 1 - SLOT_COUNT:
            raise RootOfTrustError(f"{nv_base:#x} is no index of a TPM's owner: set storage.tpm_nv_base")
        self._tcti = tcti
        self._range = range(nv_base, nv_base + SLOT_COUNT)

    def store(self, slot_secret: bytes) -> str:
        """Keep a secret of at most 1024 bytes; its handle. Raises RootOfTrustError."""
        if not 1 <= len(slot_secret) <= MAX_SLOT_BYTES:
            raise RootOfTrustError(f"a slot holds 1 to {MAX_SLOT_BYTES} bytes")
        index = self._free_index()
        tag = secrets.token_bytes(_TAG_BYTES)
        self._define(index, _HEAD_BYTES + len(slot_secret))
        try:
            self._write(index, _MAGIC + tag + slot_secret)
        except RootOfTrustError:
            with contextlib.suppress(RootOfTrustError):
                self._undefine(index)
            raise
        return _handle(index, tag)

    def load(self, handle: str) -> bytes:
        """The secret; raises SlotMissingError, or RootOfTrustError when the TPM does not answer."""
        index, tag = self._place(handle)
        content = self._read(index)
        if content is None or content[:_HEAD_BYTES] != _MAGIC + tag or not any(tag):
            raise SlotMissingError("the TPM does not hold this slot: destroyed, or of another TPM")
        return content[_HEAD_BYTES:]

    def destroy(self, handle: str) -> None:
        """Overwrite, then remove the index; an absent slot is fine. Raises RootOfTrustError."""
        try:
            index, tag = self._place(handle)
        except SlotMissingError:
            return
        content = self._read(index)
        if content is not None and content[:_HEAD_BYTES] == _MAGIC + tag:
            self._write(index, _MAGIC + bytes(len(content) - len(_MAGIC)))
            self._undefine(index)

    def handles(self) -> list[str]:
        """Handles of the slots in the range; an index that is not ours is passed over. Raises RootOfTrustError."""
        found = []
        for index in self._indices():
            content = self._read(index)
            if content is not None and content.startswith(_MAGIC) and len(content) > _HEAD_BYTES:
                found.append(_handle(index, content[len(_MAGIC) : _HEAD_BYTES]))
        return found

    def recover(self) -> None:
        """Remove indices of the range that were defined as ours and never written; only while nobody stores."""
        for index in self._indices():
            if self._read(index) is None and self._half_made(index):
                self._undefine(index)

    def _place(self, handle: str) -> tuple[int, bytes]:
        match = _HANDLE.fullmatch(handle)
        if match is None or int(match[1], 16) not in self._range:
            raise SlotMissingError("the slot is not in this TPM's range: was storage.tpm_nv_base changed?")
        return int(match[1], 16), bytes.fromhex(match[2])

    def _indices(self) -> list[int]:
        """Indices of the range that are defined."""
        listed = self._run("tpm2_getcap", "handles-nv-index").decode("ascii", "replace")
        defined = {int(text, 16) for text in re.findall(r"0x([0-9A-Fa-f]{1,8})\b", listed)}
        return [index for index in self._range if index in defined]

    def _free_index(self) -> int:
        taken = self._indices()
        for index in self._range:
            if index not in taken:
                return index
        raise RootOfTrustError(
            f"all {SLOT_COUNT} indices from {self._range.start:#x} on are taken: another program uses them, "
            "set storage.tpm_nv_base"
        )

    def _half_made(self, index: int) -> bool:
        """Whether an index has our attributes and a size of ours, and was never written."""
        told = self._run("tpm2_nvreadpublic", f"{index:#x}").decode("ascii", "replace")
        values = [int(text, 16) for text in re.findall(r"\bvalue: 0x([0-9A-Fa-f]{1,8})\b", told)]
        size = re.search(r"\bsize: ([0-9]{1,5})\b", told)
        fits = size is not None and _HEAD_BYTES < int(size[1]) <= _HEAD_BYTES + MAX_SLOT_BYTES
        return fits and _ATTRIBUTES_VALUE in values

    def _define(self, index: int, size: int) -> None:
        self._run("tpm2_nvdefine", f"{index:#x}", "-C", "o", "-s", str(size), "-a", _ATTRIBUTES)

    def _write(self, index: int, content: bytes) -> None:
        self._run("tpm2_nvwrite", f"{index:#x}", "-C", f"{index:#x}", "-i", "-", given=content)

    def _undefine(self, index: int) -> None:
        with contextlib.suppress(_IndexAbsent):
            self._run("tpm2_nvundefine", f"{index:#x}", "-C", "o")

    def _read(self, index: int) -> bytes | None:
        """What an index holds, nothing when it is not ours to read; None when it is not defined, or never written."""
        try:
            return self._run("tpm2_nvread", f"{index:#x}", "-C", f"{index:#x}")
        except _IndexAbsent:
            return None
        except _ToolFailed as error:
            if error.code in _NOT_OURS:
                return b""
            raise

    def _run(self, tool: str, *arguments: str, given: bytes = b"") -> bytes:
        """What a tool printed; one that met a busy TPM is tried again. Raises RootOfTrustError."""
        deadline = time.monotonic() + TOOL_TIMEOUT_S
        while True:
            try:
                return self._run_once([tool, *arguments], given, max(RETRY_S, deadline - time.monotonic()))
            except _TpmBusy as error:
                if time.monotonic() >= deadline:
                    raise RootOfTrustBusyError("the TPM is busy: try again") from error
                time.sleep(RETRY_S)

    def _run_once(self, command: Sequence[str], given: bytes, timeout_s: float) -> bytes:
        self._check_device()
        environment = {name: os.environ[name] for name in _INHERITED if name in os.environ} | {
            "LC_ALL": "C",
            "TPM2TOOLS_TCTI": self._tcti,
            "TSS2_LOG": "all+NONE",
        }
        try:
            done = subprocess.run(
                command, input=given, capture_output=True, timeout=timeout_s, env=environment, check=False
            )
        except FileNotFoundError as error:
            raise RootOfTrustError(f"{command[0]} is not on this machine: {_PACKAGE}") from error
        except subprocess.TimeoutExpired as error:
            raise RootOfTrustBusyError(
                f"the TPM did not answer {command[0]} in {TOOL_TIMEOUT_S:g} s: try again"
            ) from error
        except OSError as error:
            raise RootOfTrustError(f"{command[0]} cannot be run: {error.strerror}") from error
        if done.returncode != 0:
            raise _failure(command[0], self._tcti, done.stderr)
        return done.stdout[:MAX_OUTPUT_BYTES]

    def _check_device(self) -> None:
        """A TPM that is not there, or not ours to use, told before the tools say it in their way."""
        if not self._tcti.startswith(_DEVICE):
            return
        device = Path(self._tcti.removeprefix(_DEVICE))
        if not os.access(device, os.F_OK, effective_ids=True):
            raise RootOfTrustError(
                f"no TPM at {device}: fit one and turn it on, or set storage.root_of_trust to file"
            )
        if not os.access(device, os.R_OK | os.W_OK, effective_ids=True):
            raise RootOfTrustError(f"{device} may not be used: put this user into the group tss")


class _IndexAbsent(RootOfTrustError):
    """The index is not defined, or was never written."""


class _ToolFailed(RootOfTrustError):
    """A tool failed with a code of the TPM, or none."""

    code: int | None = None


class _TpmBusy(RootOfTrustError):
    """The TPM asks to be asked again."""


def _handle(index: int, tag: bytes) -> str:
    return f"{index:08x}-{tag.hex()}"


def _failure(tool: str, tcti: str, stderr: bytes) -> RootOfTrustError:
    """What a tool's failure means; its own words never carry a secret."""
    text = stderr[:MAX_OUTPUT_BYTES].decode("utf-8", "replace")
    code = next((int(match[1], 16) for match in _CODE.finditer(text)), None)
    if code in {_ABSENT, _UNWRITTEN}:
        return _IndexAbsent("the TPM has no such index")
    if code in _TRANSIENT:
        return _TpmBusy("the TPM is busy")
    if code is None and "tcti" in text:
        return RootOfTrustError(f"no TPM answers at {tcti!r}: check storage.tpm_tcti")
    number = "no code" if code is None else hex(code)
    told = _TOLD.get(code or 0, f"made {tool} fail with {number}: check it with `tpm2_selftest -f`")
    failed = _ToolFailed(f"the TPM {told}")
    failed.code = code
    return failed
