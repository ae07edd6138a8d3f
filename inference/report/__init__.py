# SPDX-License-Identifier: Apache-2.0
"""What the models can do, measured: the goals table, the figures, the report and the model card."""
