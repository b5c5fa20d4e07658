"""coalsim: what a kernel's memory manager costs on a big machine."""

__version__ = "0.1.0"
