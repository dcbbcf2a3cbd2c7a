"""The runs: data files, splits, pipelines, the comparison, reports and the command line."""
