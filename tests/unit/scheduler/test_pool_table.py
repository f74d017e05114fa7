"""A table of pools answers as the rules do that look at each pool, whatever has changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from breezeblock.scheduler.filters.base import Check, Filter
from breezeblock.scheduler.pool_table import Column, PoolTable
from breezeblock.scheduler.pools import Pool
from breezeblock.scheduler.ranking import EXAMPLES, choose, rank
from breezeblock.scheduler.registry import FILTERS, load_filters, load_weighers
from breezeblock.scheduler.request import Request

NAMES = tuple(f"h{number % 3}@b#p{number}" for number in range(8))
VOLUMES = tuple(f"00000000-0000-4000-8000-00000000000{number}" for number in range(4))
AMOUNTS = st.sampled_from((0, 12.5, 100, 1000.0, 1000.0, "infinite", "unknown", "12", None, "x"))
FUNCTIONS = st.sampled_from(
    (
        None,
        None,
        "volume.size < 20",
        "stats.free_capacity_gb > volume.size and extra.kind != 'slow'",
        "capabilities.speed == 3 ? volume.size < 200 : capabilities.multiattach",
        "volume.display_name == 'a'",
        "not a function (",
        7,
    )
)
CAPABILITIES = st.fixed_dictionaries(
    {"total_capacity_gb": AMOUNTS, "free_capacity_gb": AMOUNTS},
    optional={
        "volume_backend_name": st.sampled_from(("fast", "slow", None)),
        "storage_protocol": st.sampled_from(("iSCSI", "NFS", ["FC", "nfs"], 3)),
        "multiattach": st.sampled_from((True, False, "yes", 1, 1.0)),
        "speed": st.sampled_from((1, 1.0, True, "1", 3, [1, 3], {"deep": 1})),
        "provisioned_capacity_gb": AMOUNTS,
        "reserved_percentage": st.sampled_from((0, 10, "5", None)),
        "max_over_subscription_ratio": st.sampled_from((0.5, 1.0, 20, "auto", "x", None)),
        "thin_provisioning_support": st.booleans(),
        "online_extend_support": st.sampled_from((True, False, "no", None)),
        "filter_function": FUNCTIONS,
    },
)
POOLS = st.builds(
    lambda name, **told: Pool(name=name, backend=name.partition("#")[0], **told),
    name=st.sampled_from(NAMES),
    availability_zone=st.sampled_from(("nova", "az2")),
    capabilities=CAPABILITIES,
    up=st.sampled_from((*[True] * 9, False)),
    enabled=st.sampled_from((*[True] * 9, False)),
    frozen=st.sampled_from((*[False] * 9, True)),
    volumes=st.integers(0, 3),
)
HINT = st.sampled_from((None, VOLUMES[0], list(VOLUMES[:3]), "no id", [VOLUMES[3]]))
REQUESTS = st.builds(
    Request,
    size=st.sampled_from((0, 1, 12.5, 20, 150, 5000)),
    volume=st.fixed_dictionaries({"display_name": st.sampled_from(("a", "b", None))}),
    extra_specs=st.dictionaries(
        st.sampled_from(
            [
                *("volume_backend_name", "storage_protocol", "multiattach", "capabilities:speed"),
                *("capabilities:speed:deep", "provisioning:type", "free_capacity_gb", "kind"),
            ]
        ),
        st.sampled_from(
            ("fast", "slow", "NFS", "<is> True", "1", "= 1", ">= 12", "<in> S", "thick")
        )
        | st.just("<or> 1 <or> 3"),
        max_size=2,
    ),
    hints=st.builds(
        lambda same, other, query: {
            name: value
            for name, value in (("same_host", same), ("different_host", other), ("query", query))
            if value is not None
        },
        same=HINT,
        other=HINT,
        query=st.sampled_from((None, '[">=", "$free_capacity_gb", 5]', "[")),
    ),
    availability_zones=st.sampled_from(((), (), ("nova",), ("az2", "nova"), ("az3",))),
    attempted=st.sampled_from(((), NAMES[:2])),
    only=st.sampled_from((None, None, None, NAMES[0], "elsewhere")),
    already_on=st.sampled_from((None, NAMES[1])),
    extending_attached=st.booleans(),
    locations=st.dictionaries(st.sampled_from(VOLUMES), st.sampled_from(NAMES)),
)
CHANGES = st.lists(
    st.tuples(st.just("put"), POOLS)
    | st.tuples(st.just("remove"), st.sampled_from(NAMES))
    | st.tuples(st.just("book"), st.sampled_from(NAMES))
    | st.tuples(st.just("ask"), REQUESTS)
    | st.tuples(st.just("ask"), REQUESTS),
    min_size=3,
    max_size=25,
)
WEIGHERS = st.sampled_from(
    (
        {"CapacityWeigher": 1.0},
        {"CapacityWeigher": 2.5},
        {"CapacityWeigher": -1.0},
        {"AllocatedCapacityWeigher": -1.0},
        {"VolumeNumberWeigher": 1.0},
        {"CapacityWeigher": 1.0, "VolumeNumberWeigher": -1.0},
        {"CapacityWeigher": 0.0},
        {},
    )
)
FILTERS_ASKED = [load_filters(names) for names in (*((one,) for one in FILTERS), tuple(FILTERS))]
MOST = 3


@settings(max_examples=80, deadline=None)
@given(st.lists(POOLS, max_size=8), CHANGES, WEIGHERS)
def test_a_table_that_lives_chooses_as_the_rules_rank(
    first: list[Pool], changes: list[tuple[str, object]], multipliers: dict[str, float]
) -> None:
    weighers = load_weighers(tuple(multipliers), multipliers)
    pools = {one.name: one for one in first}
    table = PoolTable(pools.values())
    for what, told in changes:
        if what == "put":
            pools[told.name] = told
            table.put(told)
        elif what == "remove" and told in pools:
            del pools[told]
            table.remove(told)
        elif what == "book" and told in pools:
            pools[told] = pools[told].booked(10)
            table.put(pools[told])
        elif what == "ask":
            for filters in FILTERS_ASKED:
                ranking = choose(table, told, filters, weighers, MOST)
                wanted = rank(pools.values(), told, filters, weighers)
                assert ranking.candidates[:MOST] == wanted.candidates[:MOST]
                assert (ranking.fit, ranking.refused_by) == (wanted.fit, wanted.refused_by)
                assert set(ranking.refusals) <= set(wanted.refusals)
                assert len(ranking.refusals) == min(wanted.refused, EXAMPLES)
                assert ranking.none_ready == wanted.none_ready
    assert {one.name: one for one in table} == pools


class OnlyEven(Filter):
    """An operator's own: it knows nothing of tables."""

    def check(self, request: Request) -> Check | None:
        return lambda pool: "odd" if pool.volumes % 2 else None


def test_a_filter_that_knows_no_columns_is_asked_about_those_that_are_left() -> None:
    asked: list[str] = []

    class Watching(OnlyEven):
        def check(self, request: Request) -> Check:
            look: Callable[[Pool], str | None] = super().check(request) or (lambda _: None)
            return lambda pool: asked.append(pool.name) or look(pool)

    pools = [replace(Pool(name, "h@b", "nova"), volumes=at) for at, name in enumerate(NAMES)]
    pools[0] = replace(pools[0], availability_zone="az2")
    request = Request(availability_zones=("nova",))
    filters = (*load_filters(("AvailabilityZoneFilter",)), Watching())
    ranking = choose(PoolTable(pools), request, filters, load_weighers(), 10)
    assert {one.pool for one in ranking.candidates} == set(NAMES[2::2])
    assert asked[: len(NAMES) - 1] == list(NAMES[1:])
    assert ranking.refused_by == {"AvailabilityZoneFilter": 1, "Watching": 4}


def test_a_column_gives_the_numbers_of_values_that_nobody_has_to_others() -> None:
    column = Column(lambda pool: pool.volumes, key=repr)
    pool = Pool("h@b#p", "h@b", "nova")
    passing = [column.where("few", lambda volumes: volumes < 500)]
    for volumes in range(1000):
        column.put(0, replace(pool, volumes=volumes))
        passing.append(column.where("few", lambda volumes: volumes < 500))
    assert passing == [0, *[1] * 500, *[0] * 500]
    assert list(column.values()) == [999]
    assert len(column._values) <= 2
