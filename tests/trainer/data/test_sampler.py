"""Data order is a function of the position: properties over any size, number of processes and start."""

from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.data.sampler import EvalSampler, GlobalOrder, TrainSampler

sizes = st.integers(1, 40)
seeds = st.integers(-(2**63), 2**64 - 1)


def global_order(n, seed, start, batch, world, batches, **options):
    """(epoch, index) in global order as all processes together see it."""
    options |= {"seed": seed, "samples_seen": start, "batch_size": batch, "world": world}
    ranks = [list(islice(TrainSampler(n, rank=rank, **options), batches)) for rank in range(world)]
    return [key[:2] for step in range(batches) for rank in range(world) for key in ranks[rank][step]]


@settings(deadline=None, max_examples=60)
@given(n=sizes, seed=seeds, epoch=st.integers(0, 3))
def test_an_epoch_is_a_permutation(n, seed, epoch):
    order = GlobalOrder(n, seed)
    keys = [order[p] for p in range(epoch * n, (epoch + 1) * n)]
    assert {e for e, _ in keys} == {epoch}
    assert sorted(index for _, index in keys) == list(range(n))


@settings(deadline=None, max_examples=60)
@given(n=sizes, seed=seeds, batch=st.integers(1, 4), world=st.integers(1, 4), epochs=st.integers(1, 3))
def test_the_union_over_ranks_is_a_permutation_per_epoch(n, seed, batch, world, epochs):
    batches = -(-epochs * n // (batch * world))
    seen = global_order(n, seed, 0, batch, world, batches)
    for epoch in range(epochs):
        assert sorted(index for e, index in seen[epoch * n : (epoch + 1) * n]) == list(range(n))


@settings(deadline=None, max_examples=60)
@given(n=sizes, seed=seeds, batch=st.integers(1, 4), world=st.integers(1, 3), done=st.integers(0, 30))
def test_resuming_anywhere_continues_with_the_tail(n, seed, batch, world, done):
    whole = global_order(n, seed, 0, batch, world, done + 6)
    tail = global_order(n, seed, done * batch * world, batch, world, 6)
    assert tail == whole[done * batch * world :]


@settings(deadline=None, max_examples=40)
@given(n=sizes, seed=seeds, start=st.integers(0, 100), batches=st.integers(1, 5))
def test_the_order_does_not_depend_on_the_number_of_processes(n, seed, start, batches):
    one = global_order(n, seed, start, 4, 1, batches)
    assert global_order(n, seed, start, 2, 2, batches) == one
    assert global_order(n, seed, start, 1, 4, batches) == one


@settings(deadline=None, max_examples=60)
@given(n=sizes, seed=seeds, repeats=st.integers(1, 5), batch=st.integers(1, 4), world=st.integers(1, 3))
def test_repeats_are_in_a_row_and_never_drawn_alike(n, seed, repeats, batch, world):
    batches = -(-2 * n * repeats // (batch * world))
    seen = global_order(n, seed, 0, batch, world, batches, repeats=repeats)
    once = [GlobalOrder(n, seed)[p] for p in range(2 * n)]
    for place, (epoch, index) in enumerate(once):
        copies = seen[place * repeats : (place + 1) * repeats]
        assert [i for _, i in copies] == [index] * repeats
        assert [showing for showing, _ in copies] == list(range(epoch * repeats, (epoch + 1) * repeats))
    whole = seen[: 2 * n * repeats]
    assert len(set(whole)) == len(whole), "each key gives a random stream of its own"


@settings(deadline=None, max_examples=60)
@given(n=sizes, seed=seeds, repeats=st.integers(1, 4), done=st.integers(0, 20), world=st.sampled_from([1, 2, 4]))
def test_repeats_go_on_anywhere_with_any_number_of_processes(n, seed, repeats, done, world):
    whole = global_order(n, seed, 0, 4, 1, done + 5, repeats=repeats)
    tail = global_order(n, seed, 4 * done, 4 // world, world, 5, repeats=repeats)
    assert tail == whole[4 * done :]


@settings(deadline=None, max_examples=40)
@given(n=sizes, seed=seeds, start=st.integers(0, 100))
def test_one_repeat_is_none(n, seed, start):
    assert global_order(n, seed, start, 3, 2, 5, repeats=1) == global_order(n, seed, start, 3, 2, 5)


@settings(deadline=None, max_examples=40)
@given(n=sizes, repeats=st.integers(1, 3), done=st.integers(0, 9), rank=st.integers(0, 1), place=st.integers(0, 2))
def test_which_sample_stood_where(n, repeats, done, rank, place):
    sampler = TrainSampler(n, seed=1, samples_seen=5, batch_size=3, rank=rank, world=2, repeats=repeats)
    batch = next(islice(sampler, done, None))
    assert sampler.index_at(5 + 6 * done, place) == batch[place][1]


def test_seeds_and_epochs_give_different_orders():
    orders = [global_order(30, seed, start, 30, 1, 1) for seed in (0, 1) for start in (0, 30)]
    assert len({tuple(index for _, index in order) for order in orders}) == 4


@settings(deadline=None, max_examples=100)
@given(n=sizes, batch=st.integers(1, 9), world=st.integers(1, 4), limit=st.none() | st.integers(1, 50))
def test_evaluation_counts_every_sample_once(n, batch, world, limit):
    ranks = [list(EvalSampler(n, batch_size=batch, rank=r, world=world, limit=limit)) for r in range(world)]
    count = n if limit is None else min(n, limit)
    assert len({len(batches) for batches in ranks}) == 1, "ranks with unequal batches hang"
    assert len({len(b) for batches in ranks for b in batches}) == 1
    assert all(
        len(EvalSampler(n, batch_size=batch, rank=r, world=world, limit=limit)) == len(ranks[r]) for r in range(world)
    )
    keys = [key for batches in ranks for b in batches for key in b]
    assert sum(weight for *_, weight in keys) == count
    real = [index for _, index, weight in keys if weight == 1]
    assert len(set(real)) == count and set(real) <= set(range(n))
    padding = len(keys) - count
    assert padding < len(ranks[0][0]) * world, "no whole batch of padding"


def test_a_limit_is_spread_over_the_data_set():
    keys = [k for b in EvalSampler(100, batch_size=5, rank=0, world=1, limit=5) for k in b]
    assert [index for _, index, _ in keys] == [0, 20, 40, 60, 80]


@pytest.mark.parametrize("world", [1, 2, 4])
def test_evaluation_order_is_the_same_for_any_number_of_processes(world):
    ranks = [list(EvalSampler(16, batch_size=4 // world, rank=r, world=world)) for r in range(world)]
    seen = [key[1] for step in range(len(ranks[0])) for r in range(world) for key in ranks[r][step]]
    assert seen == list(range(16))
