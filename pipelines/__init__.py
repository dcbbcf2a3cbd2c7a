"""The runs: data files, splits, pipelines, the comparison, reports and the command line."""

import os

# OpenMP reads this once, when torch is loaded. Its threads otherwise spin while they wait for each other, which
# makes a run many times slower as soon as another process wants one of the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
