"""The switches of virtual memory: what each profile says, how they are written, what is refused."""

import pytest

from coalsim.errors import ConfigError
from coalsim.profiles import Switches, load_profile
from coalsim.study.overrides import parse_settings


def switches(name: str, **changes: str) -> Switches:
    """A profile's switches, some of them changed."""
    return load_profile(name).with_overrides(changes).switches


@pytest.mark.parametrize(
    ("key", "by_profile"),
    [
        ("geometry", ("auto", "x86-64", "x86-64", "x86-64", "x86-64", "x86-64", "x86-64", "x86-64")),
        (
            "shootdown",
            ("linux", "linux", "linux", "concurrent", "concurrent", "concurrent", "concurrent", "radixvm"),
        ),
        (
            "mmap_lock",
            ("rwsem", "rwsem", "rwsem", "rwsem", "per_vma", "per_vma", "per_vma", "range"),
        ),
        ("lru_batch", (15, 14, 14, 15, 15, 31, 31, 0)),
        ("lru_lock", (False, True, True, True, True, True, True, False)),
        ("lru_drain", (False, True, True, True, True, False, False, False)),
        ("flush_ceiling", (33, 0, 33, 33, 33, 33, 33, 33)),
        ("asid_slots", (6, 0, 0, 6, 6, 6, 6, 0)),
        ("cpumask_sticky", (False, False, False, False, False, True, True, False)),
        (
            "table_replication",
            ("none", "none", "none", "none", "none", "none", "none", "per_cpu"),
        ),
    ],
)
def test_a_switch_has_the_value_of_its_version(key: str, by_profile: tuple[object, ...]) -> None:
    """In the order of time: coal, Linux 3.5, 4.10, 6.0, 6.7, 6.14, 6.18, sv6."""
    names = ("coal", "linux-3.5", "linux-4.10", "linux-6.0", "linux-6.7", "linux-6.14", "linux-6.18", "sv6")
    assert tuple(getattr(switches(name), key) for name in names) == by_profile


@pytest.mark.parametrize("key", ["lru_lock", "lru_drain", "munmap_downgrade", "oracle"])
@pytest.mark.parametrize(("text", "value"), [("on", True), ("off", False), ("true", True), ("false", False)])
def test_a_truth_value_is_on_or_off_or_true_or_false(key: str, text: str, value: bool) -> None:
    """As typed behind --set, through the reader of settings: `kernel.lru_lock=off`."""
    (setting,) = parse_settings([f"kernel.{key}={text}"])
    changed = switches("linux-6.0", **{key: str(setting.value)})
    assert getattr(changed, key) is value


def test_policies_are_free_names_and_the_rest_are_choices() -> None:
    """A user's own shootdown is named like his own lock; a placement may name a node."""
    changed = switches(
        "linux-6.18", shootdown="./mine.py:Mine", ipi="kvm_pv", mmap_lock="rwsem", table_placement="node:12"
    )
    assert (changed.shootdown, changed.ipi, changed.mmap_lock) == ("./mine.py:Mine", "kvm_pv", "rwsem")
    assert changed.table_node == 12
    assert switches("linux-6.18").table_node is None


def test_linux_gathers_eight_pages_and_nineteen_batches() -> None:
    """128 MiB are 32,768 pages: four flushes."""
    pages = switches("linux-6.0").gather_pages
    assert pages == 8 + 19 * 510
    assert -(-32_768 // pages) == 4


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"mmap_lock": "mutex"}, "kernel.mmap_lock = mutex: no such choice"),
        ({"geometry": "x86_64"}, "kernel.geometry = x86_64: no such choice; did you mean x86-64?"),
        ({"thp": "always"}, "kernel.thp = always: no such choice; the choices are never"),
        ({"lru_lock": "maybe"}, "kernel.lru_lock = maybe: not a truth value"),
        ({"lru_batch": "-1"}, "kernel.lru_batch = -1: less than 0; use 0 (no lists), or 14, 15 or 31"),
        ({"flush_ceiling": "-33"}, "kernel.flush_ceiling = -33: less than 0; use 0 (always all), or 33"),
        ({"flush_batch": "0"}, "kernel.flush_batch = 0: less than 1; use 32"),
        ({"gather_pages": "0"}, "kernel.gather_pages = 0: less than 1"),
        ({"latr_ring": "0"}, "kernel.latr_ring = 0: less than 1"),
        ({"latr_ticks": "0"}, "kernel.latr_ticks = 0: less than 1"),
        ({"invlpgb_min_cpus": "0"}, "kernel.invlpgb_min_cpus = 0: less than 1"),
        ({"time_slice_ticks": "0"}, "kernel.time_slice_ticks = 0: less than 1"),
        ({"rss_batch": "-2"}, "kernel.rss_batch = -2: less than -1"),
        ({"stack_guard_pages": "-1"}, "kernel.stack_guard_pages = -1: less than 0"),
        ({"asid_slots": "5000"}, "kernel.asid_slots = 5000: no such number of tags"),
        ({"table_placement": "node:"}, "kernel.table_placement = node:: no such placement; use first_touch"),
        ({"table_placement": "node:-1"}, "kernel.table_placement = node:-1: no such placement"),
        ({"table_placement": "node:\u00b2"}, "kernel.table_placement = node:\u00b2: no such placement"),
        ({"table_placement": "remote"}, "kernel.table_placement = remote: no such placement"),
        ({"shootdown": ""}, "kernel.shootdown: no name; name a policy, for example linux"),
        ({"ipi": ""}, "kernel.ipi: no name; use machine"),
        ({"cost.exception_entri": "1ns"}, "kernel.cost.exception_entri: no such key; did you mean"),
        (
            {"tlb_generations": "off", "lazy_tlb_skips": "off"},
            "kernel.asid_slots = 6: needs tlb_generations, which tell",
        ),
        (
            {"tlb_generations": "off", "asid_slots": "0"},
            "kernel.lazy_tlb_skips = on: needs tlb_generations, which tell",
        ),
    ],
)
def test_a_value_that_no_kernel_has_is_refused_with_its_remedy(changes: dict[str, str], says: str) -> None:
    """One line for each mistake, with key, value and what to do."""
    with pytest.raises(ConfigError) as refusal:
        load_profile("linux-6.0").with_overrides(changes)
    assert len(refusal.value.problems) == 1
    assert str(refusal.value).startswith(says)


def test_mistakes_of_both_halves_are_told_together() -> None:
    """A switch of the allocators and one of virtual memory, each out of range."""
    with pytest.raises(ConfigError) as refusal:
        load_profile("coal").with_overrides({"hz": "-1", "latr_ring": "0"})
    assert {problem.key for problem in refusal.value.problems} == {"kernel.hz", "kernel.latr_ring"}
