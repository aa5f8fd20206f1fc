import stages  # noqa: F401 - before anything loads NumPy, whose threads and kernels it fixes
