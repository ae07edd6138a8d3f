# SPDX-License-Identifier: Apache-2.0
"""Programs to be copied out and run by themselves; each is one file and imports nothing of ours."""
