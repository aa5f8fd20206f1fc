"""The server: loads the artifacts that are checked out and predicts with them."""

from stages.runtime import kernels

kernels.fix()  # before NumPy loads, so that it scores with the kernels that the pipeline trains with
