# SPDX-License-Identifier: Apache-2.0
"""The officer's and clerk's pages."""
