"""Parts of `cofactor.bench`: the machine, the data, and the times of fits."""
