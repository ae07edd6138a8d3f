# SPDX-License-Identifier: Apache-2.0
"""Fuzzing of every parser of bytes that come from outside: docs/security/fuzzing.md."""
