"""The pipeline: one plain script per stage, and the modules they share."""

from stages.runtime import kernels

kernels.fix()  # before NumPy loads
