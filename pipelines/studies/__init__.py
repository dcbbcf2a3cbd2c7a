"""Studies: one claim of the literature each, tried at a small scale, judged by a criterion stated beforehand."""
