"""The kernel's memory manager: page frames below (`phys`), objects above (`kmem`)."""
