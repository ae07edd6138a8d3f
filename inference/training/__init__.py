# SPDX-License-Identifier: Apache-2.0
"""Training of the three models: data preparation, training loops, int8 export (extra ``[train]``)."""
