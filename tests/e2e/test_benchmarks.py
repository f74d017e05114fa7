"""The benchmarks still run: each with as little as it can do, in the shape that starts soonest.

What they find is of no interest here, but that they find it: a figure for each thing that was done,
of the deployment and of the client alone, and no error on the way.
"""

from __future__ import annotations

import json

from bench import api, figures, limit, regression, shapes


async def test_the_api_is_measured_and_compared_with_cinder() -> None:
    few = ("--shapes", "one", "--scenarios", "e2e", "--rounds", "1", "--scale", "0.01")
    told = await api.measure(api.asked([*few, "--lists", "--starts", "1", "--no-warm-up"]))
    told = json.loads(json.dumps(told))

    ours = figures.Found.of_plain(told["found"]["one process"])
    alone = figures.Found.of_plain(told["found"]["only answers"])
    for found in (ours, alone):
        assert {name: row.n for name, row in found.rows.items()} == {
            "create->available c=1": 2,
            "create->available c=8": 2,
        }
        assert not found.errors
    assert ours.memory_mb["processes"] == 1
    assert set(ours.start_s) == {"202", "volume available"}
    assert told["durability"]["one process"] == {
        "PRAGMA journal_mode": "wal",
        "PRAGMA synchronous": "2",
    }
    assert set(told["ratios"]) >= {
        "create->available, 1 at once, p50 ms",
        "create->available, 8 at once, p50 ms",
    }
    assert "| create->available, 1 at once, p50 ms | 30 | 335 (331.5..421.8) |" in api.tables(told)


async def test_a_post_is_repeated_by_a_bare_client() -> None:
    async with shapes.one_process() as shape:
        [share] = await limit.shares(shape, connections=(2,), count=4)

    assert share.bare > 0
    assert share.whole > 0


async def test_a_commit_is_compared_with_itself() -> None:
    here = (regression.HERE, regression.HERE)
    verdicts = await regression.compare(here, rounds=2, scale=0.02)

    assert [one.work for one in verdicts] == list(regression.WORKS)
    assert all(one.base_ms > 0 and one.now_ms > 0 for one in verdicts)


def test_a_verdict_needs_more_than_noise() -> None:
    steady = regression.Verdict.of("steady", [10.0, 10.1, 9.9], [12.0, 12.1, 11.9])
    noisy = regression.Verdict.of("noisy", [10.0, 14.0, 7.0], [12.0, 9.0, 13.0])

    assert steady.worse_than(5)
    assert not steady.worse_than(25)
    assert not noisy.worse_than(5)


LOG = """\
2026-01-02 03:04:05.678 UTC [7] LOG:  statement: BEGIN
2026-01-02 03:04:05.678 UTC [8] LOG:  statement: BEGIN
2026-01-02 03:04:05.678 UTC [8] LOG:  execute s0: SELECT 1
2026-01-02 03:04:05.679 UTC [7] LOG:  execute s1: INSERT INTO volumes
\t(id, name, host) VALUES ($1, $2, $3)
2026-01-02 03:04:05.679 UTC [7] DETAIL:  parameters: $1 = '%s', $2 = 'it''s', $3 = NULL
2026-01-02 03:04:05.680 UTC [8] LOG:  statement: COMMIT
2026-01-02 03:04:05.680 UTC [7] LOG:  statement: COMMIT
"""


def test_what_a_post_sends_is_read_from_the_log_of_postgresql() -> None:
    first, second = "11111111-2222-4333-8444-555555555555", "99999999-2222-4333-8444-555555555555"
    sent = limit.transaction_of(*limit.logged(LOG % first + LOG % second))
    insert = "INSERT INTO volumes\n(id, name, host) VALUES ($1, $2, $3)"

    assert [one.text for one in sent.statements] == ["BEGIN", insert, "COMMIT"]
    assert sent.statements[1].values == (second, "it's", None)
    assert sent.idents == {second}
    again = dict(sent.again())[insert]
    assert again[0] not in (first, second)
    assert again[1:] == ["it's", None]
