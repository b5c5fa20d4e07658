"""Profiles: what they hold, how they build on each other, and how a user changes them."""

from decimal import Decimal
from importlib.resources import files

import pytest

from coalsim.errors import ConfigError
from coalsim.profiles import KernelCosts, KernelProfile, load_profile, profile_names
from coalsim.profiles.profile import cost_names, switch_names
from coalsim.provenance import STATUSES
from coalsim.units import SEC

CLOCK = Decimal("2.2")


@pytest.fixture(params=profile_names())
def profile(request: pytest.FixtureRequest) -> KernelProfile:
    """Each profile that coalsim brings along."""
    return load_profile(request.param)


def test_the_promised_profiles_exist_in_order_of_version() -> None:
    """coal comes first, then Linux by version and not by alphabet."""
    assert profile_names() == (
        "coal",
        "linux-3.5",
        "linux-4.10",
        "linux-6.0",
        "linux-6.7",
        "linux-6.14",
        "linux-6.18",
        "sv6",
    )


def test_every_profile_prices_every_step_and_says_why(profile: KernelProfile) -> None:
    """No cost is missing, none is silently zero, each has source and status."""
    assert tuple(name for name, _ in profile.parameters()) == cost_names()
    for name, cost in profile.parameters():
        assert cost.value > 0 or cost.source.startswith("no such step: "), name
        assert cost.source, name
        assert cost.status in STATUSES, name


def test_costs_in_cycles_follow_the_clock_and_the_others_do_not(profile: KernelProfile) -> None:
    """Twice the clock halves what is given in cycles, to the rounding, and leaves time of memory alone."""
    slow, fast = profile.costs(Decimal(2)), profile.costs(Decimal(4))
    for name, cost in profile.parameters():
        assert isinstance(getattr(slow, name), int)
        if cost.unit == "cycles":
            assert abs(getattr(slow, name) - 2 * getattr(fast, name)) <= 1, name
        else:
            assert getattr(slow, name) == getattr(fast, name), name


@pytest.mark.parametrize(
    ("older", "newer", "differences"),
    [
        ("linux-3.5", "linux-4.10", {"lock", "flush_batch", "flush_ceiling", "gather_pages"}),
        (
            "linux-4.10",
            "linux-6.0",
            {
                "slub_cpu_partial",
                "pcp_batch_bytes",
                "pcp_high_rule",
                "pcp_orders",
                "pcp_free_scale",
                "pcp_lock",
                "munmap_downgrade",
                "stack_guard_pages",
                "lru_batch",
                "shootdown",
                "nested_gather_full",
                "mprotect_upgrade_flushes",
                "mprotect_makes_writable",
                "tlb_generations",
                "asid_slots",
                "lazy_tlb_skips",
                "pv_flush",
                "all_but_self",
            },
        ),
        (
            "linux-6.0",
            "linux-6.7",
            {
                "pcp_high_rule",
                "pcp_alloc_scale",
                "pcp_free_scale",
                "pcp_irqs_off",
                "mmap_lock",
                "rss_batch",
            },
        ),
        ("linux-6.7", "linux-6.14", {"lru_batch", "lru_drain", "cpumask_sticky"}),
        ("linux-6.14", "linux-6.18", {"pcp_free_scale", "madvise_lock"}),
    ],
)
def test_a_version_differs_from_the_one_before_in_what_changed(
    older: str, newer: str, differences: set[str]
) -> None:
    """A profile that extends another changes exactly the switches whose commits lie between."""
    before, after = load_profile(older).switches, load_profile(newer).switches
    assert {name for name in switch_names() if getattr(before, name) != getattr(after, name)} == differences


@pytest.mark.parametrize(
    ("older", "newer", "differences"),
    [
        ("linux-3.5", "linux-4.10", {"area_new", "area_remove", "fault_fixed"}),
        ("linux-4.10", "linux-6.0", {"exception_entry", "exception_exit"}),
        ("linux-6.0", "linux-6.7", set()),
        ("linux-6.7", "linux-6.14", set()),
        ("linux-6.14", "linux-6.18", set()),
    ],
)
def test_costs_differ_only_where_a_measurement_asks_for_it(
    older: str, newer: str, differences: set[str]
) -> None:
    """3.5 was measured on one old machine; from 6.0 on, a fault pays for mitigations."""
    before, after = load_profile(older).costs_table, load_profile(newer).costs_table
    assert {name for name in cost_names() if before[name] != after[name]} == differences


def test_coal_is_the_plain_design() -> None:
    """Powers of two, blocks up to 16 MiB, one zone, magazines with one depot per cache."""
    switches = load_profile("coal").switches
    assert switches.kmalloc_sizes == (16, 32, 64, 128, 256, 512, 1024, 2048)
    assert (switches.max_order, switches.zones) == (12, "one")
    assert (switches.slab, switches.magazine_depot) == ("magazines", "cache")
    assert switches.pcp_drain == "before-push"
    assert switches.magazine_update == 15 * SEC


def test_linux_has_its_classes_and_zones() -> None:
    """Sizes from 8 to 8,192 with 96 and 192, blocks up to 4 MiB, three zones on the first node."""
    switches = load_profile("linux-6.18").switches
    assert switches.kmalloc_sizes == (8, 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096, 8192)
    assert (switches.max_order, switches.zones, switches.pcp_drain) == (10, "dma-dma32-normal", "after-push")
    assert switches.slab == "slub", "sheaves are opt-in in 6.18"


def test_the_tick_period_is_whole_and_zero_means_none() -> None:
    """250 Hz is a tick every 4 ms; without ticks there is no period."""
    profile = load_profile("linux-6.0")
    assert profile.switches.tick_period * 250 == SEC
    assert profile.with_overrides({"hz": "0"}).switches.tick_period == 0


def test_overrides_change_switches_and_costs_of_a_copy() -> None:
    """Each kind of value is read; the profile itself stays as it was."""
    profile = load_profile("coal")
    changed = profile.with_overrides(
        {
            "hz": "0",
            "zone_irqsave": "off",
            "pcp_orders": "0, 1,3",
            "magazine_update": "2ms",
            "slab": "sheaves",
            "lock": "./mine.py:Mine",
            "pcp_batch": "7",
            "pcp_high": "42",
            "cost.pcp_pop": "12.5ns",
            "cost.tick": "1000 cycles",
        }
    )
    assert changed.switches.pcp_orders == (0, 1, 3)
    assert changed.switches.magazine_update == 2_000_000_000
    assert changed.switches.zone_irqsave is False
    assert changed.switches.slab == "sheaves"
    assert changed.switches.lock == "./mine.py:Mine"
    assert (changed.switches.pcp_batch, changed.switches.pcp_high) == (7, 42)
    assert changed.costs(CLOCK).pcp_pop == 12_500
    assert changed.costs(Decimal(1)).tick == 1_000_000
    assert dict(changed.parameters())["tick"].source == "set by the user"
    assert profile.switches.hz == 100
    assert profile is load_profile("coal")


def test_every_switch_is_read_back_as_it_is_written(profile: KernelProfile) -> None:
    """Writing all switches as text and reading them changes nothing."""
    assert profile.with_overrides(profile.switches_as_text()) == profile


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"pcp_bach": "1"}, "kernel.pcp_bach: no such key; did you mean kernel.pcp_batch?"),
        (
            {"cost.pcp_popp": "1ns"},
            "kernel.cost.pcp_popp: no such key; did you mean kernel.cost.pcp_pop?",
        ),
        ({"hz": "often"}, "kernel.hz = often: not a whole number; write it like 63"),
        ({"hz": "-1"}, "kernel.hz = -1: no such tick rate; use 0 (no tick) to 10000"),
        ({"zone_irqsave": "perhaps"}, "kernel.zone_irqsave = perhaps: not a truth value"),
        (
            {"slab": "slob"},
            "kernel.slab = slob: no such choice; did you mean slub? the choices are magazines, slub, sheaves",
        ),
        ({"pcp_orders": "1,0"}, "kernel.pcp_orders = 1,0: not ascending orders"),
        ({"pcp_orders": "0,13"}, "kernel.pcp_orders = 0,13: not ascending orders up to max_order"),
        ({"pcp_high": "5"}, "kernel.pcp_high = 5: does not fit"),
        ({"magazine_update": "15"}, "kernel.magazine_update = 15: not a time"),
        ({"cost.pcp_pop": "12"}, "kernel.cost.pcp_pop = 12: not a cost; write it like 12ns"),
        ({"cost.pcp_pop": "-2ns"}, "kernel.cost.pcp_pop = -2ns: not a cost"),
        ({"lock": ""}, "kernel.lock: no name"),
    ],
)
def test_a_wrong_override_is_refused_with_its_remedy(changes: dict[str, str], says: str) -> None:
    """Each kind of mistake gives one line with key, value and what to do."""
    with pytest.raises(ConfigError) as refusal:
        load_profile("coal").with_overrides(changes)
    assert len(refusal.value.problems) == 1
    assert str(refusal.value).startswith(says)


def test_all_wrong_overrides_are_told_at_once() -> None:
    """Unknown keys, unreadable values and values out of range come together."""
    wrong = {"hz": "x", "nothing": "1", "cost.tick": "y", "max_order": "99"}
    with pytest.raises(ConfigError) as refusal:
        load_profile("coal").with_overrides(wrong)
    assert [problem.key for problem in refusal.value.problems] == [f"kernel.{key}" for key in wrong]


@pytest.mark.parametrize(("name", "remedy"), [("linux-6.1", "mean linux-6.18?"), ("qnx", "use one of")])
def test_an_unknown_profile_is_refused_with_a_near_one(name: str, remedy: str) -> None:
    """A name that does not exist leads to those that do; parts of profiles are none."""
    with pytest.raises(ConfigError, match="no such profile") as refusal:
        load_profile(name)
    assert remedy in str(refusal.value)
    with pytest.raises(ConfigError):
        load_profile("_common")


def test_every_field_says_what_it_means() -> None:
    """Each switch and each cost is followed by a line of documentation, in one of its files."""
    for modules, names in (
        (("switches", "vm_switches", "pressure_switches"), switch_names()),
        (("costs", "vm_costs", "pressure_costs"), cost_names()),
    ):
        texts = [
            (files("coalsim.profiles") / f"{module}.py").read_text(encoding="utf-8") for module in modules
        ]
        lines = [line for text in texts for line in text.splitlines()]
        for name in names:
            (at,) = (number for number, line in enumerate(lines) if line.startswith(f"    {name}: "))
            assert lines[at + 1].startswith('    """'), name


def test_costs_cannot_be_made_with_one_missing() -> None:
    """No cost has a default."""
    with pytest.raises(TypeError, match="missing"):
        KernelCosts(irq_save=1)  # type: ignore[call-arg]


def test_who_locks_ranges_of_pages_does_not_reclaim() -> None:
    """The combination is refused with both keys and what to change."""
    with pytest.raises(ConfigError, match=r"kernel\.reclaim = on: who locks ranges .*cannot sleep"):
        load_profile("sv6").with_overrides({"reclaim": "on"})
