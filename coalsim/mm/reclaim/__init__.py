"""What happens when memory runs short: reclaimers, the allocation's slow path, the OOM killer."""
