"""How many models advance together, and for how long: bounds on any machine."""

from dataclasses import replace
from functools import partial
from math import ceil

import jax
import pytest
from conftest import make_knobs, make_spec

from superposition_cli.running import devices
from superposition_cli.running.devices import Machine
from superposition_cli.toy.models import MODELS

SPECS = [
    make_spec(batch_size=1024, steps=10_000),
    make_spec(n_features=100, n_hidden=20, batch_size=1024, steps=9_973),
    make_spec(n_features=2, n_hidden=1, batch_size=32, steps=1),
    make_spec(n_features=2, n_hidden=1, objective="population", steps=500),
    make_spec(n_features=50, n_hidden=5, objective="exact_sparse", steps=500),
    make_spec(model="abs", n_features=400, n_hidden=30, batch_size=2048, dtype="float64"),
]
COUNTS = [1, 2, 3, 5, 7, 10, 64, 100, 625, 6_250, 99_991]


def machine(workers=2, chunk_bytes=devices.CACHE_BYTES, platform="cpu"):
    return Machine(platform, platform, 1, workers, chunk_bytes)


@pytest.mark.parametrize("workers", [1, 2, 3, 8])
@pytest.mark.parametrize("models", COUNTS)
@pytest.mark.parametrize("spec", SPECS)
def test_a_chunk_fits_and_there_is_work_for_every_core(spec, models, workers):
    size = devices.chunk_models(machine(workers), spec, models)
    assert 1 <= size <= models
    assert size == 1 or size * devices.model_bytes(spec) <= devices.CACHE_BYTES
    chunks = ceil(models / size)
    if models >= workers**2:
        assert chunks >= workers
    assert ceil(models / chunks) == size  # equal chunks: copies only to round up


def test_one_model_is_one_chunk_of_one():
    assert devices.chunk_models(machine(8), SPECS[0], 1) == 1


def test_few_models_go_one_to_a_worker():
    assert devices.chunk_models(machine(8), SPECS[0], 8) == 1
    assert devices.chunk_models(machine(8), SPECS[0], 3) == 1


def test_a_model_larger_than_the_cache_advances_alone():
    assert devices.chunk_models(machine(2, chunk_bytes=10), SPECS[0], 50) == 1


def test_an_accelerator_takes_all_that_fits_at_once():
    gpu = machine(1, 40 << 30, "gpu")
    assert devices.chunk_models(gpu, SPECS[0], 6_250) == 6_250


def test_an_accelerator_holds_all_there_is_of_a_model_until_it_is_judged():
    # n 5, m 2, B 1024, 15 parameters. Carried, in numbers: W and b and Adam's two of each 45, its
    # count and the finite steps 2, seven snapshots and scratch 120, losses of 100 steps, settings
    # 2 x 5 + 12. A step: input, error, its gradient and the next draw [5, B], two [2, B], four
    # copies of parameters. Two keys of two words.
    carried = 45 + 2 + 120 + 100 + 22 + 4
    step = (4 * 5 + 2 * 2) * 1024 + 4 * 15
    assert devices.resident_bytes(SPECS[0], 7) == 4 * (carried + step)
    gpu = machine(1, 10**9, "gpu")
    assert devices.chunk_models(gpu, SPECS[0], 10**6, 7) == ceil(
        10**6 / ceil(10**6 / (10**9 // (4 * (carried + step))))
    )


def test_snapshots_and_the_optimiser_make_chunks_of_an_accelerator_smaller():
    spec = make_spec(model="linear", n_features=90, objective="population", steps=500)
    gpu = machine(1, 40 << 30, "gpu")
    sizes = [devices.chunk_models(gpu, spec, 10**7, rows) for rows in (0, 25, 500)]
    assert sizes == sorted(sizes, reverse=True)
    # 270 parameters, 501 rows of 4 bytes, and the chunk within its share
    assert sizes[-1] * 501 * 270 * 4 < 40 << 30
    searched = replace(spec, optimizer="lbfgs")  # keeps ten gradients and ten updates
    more = devices.resident_bytes(searched) - devices.resident_bytes(spec)
    assert more > 4 * 270 * (20 - 2)


@pytest.mark.parametrize("spec", SPECS)
def test_chunks_on_a_cpu_heed_the_cache_and_no_snapshot(spec):
    here = machine(2)
    sizes = {devices.chunk_models(here, spec, 99_991, rows) for rows in (0, 25, 10_000)}
    assert len(sizes) == 1


@pytest.mark.parametrize("spec", SPECS)
def test_a_full_accelerator_goes_a_hundred_steps_and_its_losses_have_room(spec):
    gpu = machine(1, 70 << 30, "gpu")
    size = devices.chunk_models(gpu, spec, 10**7)
    steps = devices.segment_steps(gpu, spec, size)
    assert steps >= min(100, spec.steps)
    each = 8 if spec.dtype == "float64" else 4
    assert steps <= 100 or steps * size * each <= gpu.chunk_bytes / 4


def test_a_search_goes_as_many_gradients_in_fewer_steps():
    spec = make_spec(objective="population", optimizer="lbfgs", steps=300)
    gpu = machine(1, 70 << 30, "gpu")
    assert devices.segment_steps(gpu, spec, 10**6) == 5  # 20 gradients a step


def test_this_machine_is_the_default_device_of_the_thread():
    (first, *_) = jax.devices("cpu")
    with jax.default_device(first):
        assert devices.this_device() == first
        assert devices.as_here(devices.this_device)() == first
    assert devices.this_device() == jax.devices()[0]


@pytest.mark.parametrize("models", [1, 7, 100, 5_000])
@pytest.mark.parametrize("platform", ["cpu", "gpu"])
@pytest.mark.parametrize("spec", SPECS)
def test_segments_stay_short_and_one_or_two_lengths_serve(spec, platform, models):
    here = machine(platform=platform)
    steps = devices.segment_steps(here, spec, models)
    assert 1 <= steps <= spec.steps
    lengths = {min(steps, spec.steps - start) for start in range(0, spec.steps, steps)}
    assert len(lengths) <= 2
    rate = devices.CPU_RATE if platform == "cpu" else devices.ACCELERATOR_RATE
    work = models * devices.batch(spec) * spec.n_features * (5 * spec.n_hidden + 20)
    least = 1 if platform == "cpu" else min(100, spec.steps)
    assert steps <= least or steps * work / rate <= 5
    assert steps >= least


def test_a_segment_divides_the_steps_where_a_divisor_is_near(monkeypatch):
    spec = make_spec(steps=10_000)
    work = 64 * 5 * 30  # batch, features, 5 m + 20
    for longest, expected in [(10_000, 10_000), (9_999, 5_000), (3_000, 2_500), (101, 100)]:
        seconds = (longest + 0.5) * work / devices.CPU_RATE
        monkeypatch.setattr(devices, "SEGMENT_SECONDS", seconds)
        assert devices.segment_steps(machine(), spec, 1) == expected
    prime = replace(spec, steps=9_973)
    assert devices.segment_steps(machine(), prime, 1) == 101  # no divisor: a shorter last one


@pytest.mark.parametrize("field", ["n_features", "n_hidden", "batch_size"])
def test_the_memory_model_grows_with_every_size(field):
    sizes = [devices.model_bytes(replace(SPECS[0], **{field: value})) for value in (1, 2, 8, 100)]
    assert sizes == sorted(set(sizes))


def test_a_step_without_sampling_is_as_large_as_its_nodes():
    # two features: nothing, each alone at 24 nodes, both at 10 x 10
    assert devices.batch(make_spec(n_features=2, objective="population")) == 1 + 2 * 24 + 100
    assert devices.batch(make_spec(model="linear", n_features=90, objective="population")) == 1
    assert devices.batch(make_spec(batch_size=77)) == 77


def test_double_precision_takes_twice_the_memory():
    single = devices.model_bytes(SPECS[0])
    assert devices.model_bytes(replace(SPECS[0], dtype="float64")) == 2 * single


def test_parameters_are_those_a_model_has():
    for kind, model in MODELS.items():
        spec = make_spec(model=kind)
        params = jax.eval_shape(partial(model.init, spec), make_knobs(), jax.random.key(0))
        count = sum(leaf.size for leaf in jax.tree.leaves(params))
        assert devices.parameters(spec) == count, kind


def test_this_machine_has_a_device_and_workers():
    here = devices.this_machine()
    assert here.n_devices >= 1
    assert here.workers >= 1
    assert here.chunk_bytes > 0
