# SPDX-License-Identifier: Apache-2.0
"""Errors of the inference library; `permanent` says that trying again can't help."""

from __future__ import annotations


class InferenceError(Exception):
    """Base of all errors raised here."""

    permanent = True


class RuntimeMissingError(InferenceError):
    """No TFLite runtime is installed: install `ai-edge-litert` (or `tflite-runtime` on old boards)."""


class ModelMissingError(InferenceError):
    """A model file or the manifest is not there: run `make train`, or reinstall the package."""


class ModelCorruptError(InferenceError):
    """A model file is not the one that the manifest names: reinstall it, never run it."""


class ModelMismatchError(InferenceError):
    """A model's inputs or outputs are not those of its role: it is of another version."""


class BadPictureError(InferenceError, ValueError):
    """The pixels are not a (H, W) or (H, W, 3) uint8 picture within the size limits."""


class BadManifestError(InferenceError, ValueError):
    """A manifest line can't be used; the message names the line and what is wrong with it."""
