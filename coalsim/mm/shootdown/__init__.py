"""TLB shootdown: how processors are told that a translation has died, one policy per file."""
