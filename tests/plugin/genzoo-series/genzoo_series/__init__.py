"""Short multivariate time series for genzoo."""
