# SPDX-License-Identifier: Apache-2.0
"""Hot lists: feeds in, signed list files between, explained matches out."""
