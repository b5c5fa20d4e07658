"""What the results of studies say: stacks, what-ifs, elasticities, bounds and comparisons."""
