"""The pipeline: one plain script per stage, and the modules they share.

Thread counts of the numeric libraries are fixed before they load: histogram boosting stores OpenMP's in the fitted model,
and BLAS sums in another order with another count, so the same training would give other bytes on another machine.
Work runs side by side through joblib instead, which does not change a result.
"""

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")
