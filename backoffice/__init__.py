# SPDX-License-Identifier: Apache-2.0
"""The agency's server, `wayside-office`: takes hits, pulls sealed reads, opens and searches them, proves deletion."""
