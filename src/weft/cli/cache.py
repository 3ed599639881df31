"""`weft cache`: what the kernel cache holds, and how to empty it."""

from __future__ import annotations

from ..backends.cpu.cache import cache_folder, disk_cache


def show_cache() -> None:
    """Print where compiled kernels are kept, how many, and how large they are."""
    if cache_folder() is None:
        print("The kernel cache is off (WEFT_CACHE=0): kernels are compiled anew in every process.")
        return
    cache = disk_cache()
    entries = cache.entries()
    size = sum(e[1] for e in entries)
    print(f"folder   {cache.folder}")
    if why := cache.refusal():
        print(f"         not used: {why}")
    print(f"kernels  {len(entries)}")
    print(f"size     {size / 1e6:.1f} MB of at most {cache.limit / 1e6:g} MB (WEFT_CACHE_SIZE)")


def clear_cache() -> None:
    """Remove all compiled kernels from the disk."""
    removed = disk_cache().clear() if cache_folder() is not None else 0
    print(f"removed {removed} kernels" if removed != 1 else "removed 1 kernel")
