"""Names of members: what sets them apart, whatever it holds, at a length that every file system takes."""

from experiments.sweeps.names import name_members, varied_keys

FIXED = [f"data.key{number}={number}" for number in range(40)]


def test_only_what_varies_names_a_member():
    members = [["objective.beta=1", *FIXED, "seed=0"], ["objective.beta=4", *FIXED, "seed=0"]]
    assert varied_keys(members) == ["objective.beta"]
    assert name_members(members) == {"beta=1": members[0], "beta=4": members[1]}


def test_more_values_rename_no_member():
    few = name_members([[f"objective.beta={beta}", f"seed={seed}"] for beta in (1, 4) for seed in (0, 1)])
    more = name_members([[f"objective.beta={beta}", f"seed={seed}"] for beta in (0, 1, 4) for seed in (0, 1, 2)])
    assert few.items() <= more.items()
    assert len(more) == 9


def test_keys_that_end_alike_are_told_apart():
    found = name_members([["network.encoder.hidden=[8]", f"network.decoder.hidden=[{n}]", f"x={n}"] for n in (8, 9)])
    assert [name.startswith("hidden=") for name in found] == [True, True]
    both = name_members([[f"network.encoder.hidden={n}", f"network.decoder.hidden={n}"] for n in (8, 9)])
    assert list(both) == [f"network.encoder.hidden={n}_network.decoder.hidden={n}" for n in (8, 9)]


def test_long_values_and_many_keys_stay_short_and_differ():
    long = [["a=" + "x" * 300 + end] for end in "12"]
    many = [[f"some.long.key{key}={value}" for key in range(40)] for value in (1, 2)]
    signs = [[f"path={path}"] for path in ("a/b", "a b", "a_b", "ü#?'\n")]
    for members in (long, many, signs):
        names = list(name_members(members))
        assert len(names) == len(members)
        assert all(len(name) <= 80 and set(name).isdisjoint("/ #?'\nü") for name in names), names


def test_one_member_has_a_name():
    assert name_members([["seed=0"]]) == {"run": ["seed=0"]}
