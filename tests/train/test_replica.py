import gc
import weakref
from pathlib import Path

import pytest
import torch
from torch import distributed as dist
from torch import multiprocessing, nn

from distml.train.exchange import Exchange
from distml.train.parallel import Parallel, bare
from distml.train.replica import Replica, is_small

CPU = torch.device("cpu")
WORLD = 3  # Two that swap, and one that stands aside.


class Forked(nn.Module):
    """Which of its layers are used depends on who asks."""

    def __init__(self):
        super().__init__()
        self.shared = nn.Linear(3, 4)
        self.left = nn.Linear(4, 1)
        self.right = nn.Linear(4, 1)
        self.idle = nn.Linear(4, 1)

    def forward(self, rows, side="left"):
        return getattr(self, side)(torch.tanh(self.shared(rows)))


def forked(seed=0):
    torch.manual_seed(seed)
    return Forked()


ROWS = torch.arange(float(WORLD * 4 * 3)).reshape(WORLD, 4, 3).sin()


def gradients(model):
    return {name: p.grad for name, p in bare(model).named_parameters()}


def passes(model, rank):
    """A pass of two micro-batches, of which only the last tells the others."""
    with model.no_sync():
        model(ROWS[rank, :1]).sum().backward()
    model(ROWS[rank, 1:]).sum().backward()
    return {name: None if g is None else g.clone() for name, g in gradients(model).items()}


def worker(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/group", rank=rank, world_size=WORLD
    )
    parallel = Parallel(device=CPU, world_size=WORLD, exchange=Exchange("127.0.0.1"))
    model = parallel.wrap(forked(seed=rank))
    told = {"begins": dict(bare(model).state_dict()), "passes": passes(model, rank)}
    model.zero_grad(set_to_none=True)
    model(ROWS[rank], "left" if rank else "right").sum().backward()
    told["forked"] = gradients(model)
    exact = parallel.wrap(forked().double())
    exact(ROWS[rank].double()).sum().backward()
    told["exact"] = gradients(exact)
    torch.save(told, f"{folder}/{rank}.pt")
    dist.barrier()
    if rank:
        raise SystemExit
    # What the others have left can only fail.
    try:
        model(ROWS[rank]).sum().backward()
    except RuntimeError as error:
        Path(folder, "missed").write_text(str(error))


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replicas")
    with pytest.MonkeyPatch.context() as patch:
        # The processes import this file by its name.
        patch.syspath_prepend(Path(__file__).parents[2])
        multiprocessing.spawn(worker, (str(folder),), nprocs=WORLD)
    found = [torch.load(folder / f"{rank}.pt") for rank in range(WORLD)]
    return found, (folder / "missed").read_text()


def assert_close(found, expected):
    for name, gradient in expected.items():
        if gradient is None:
            assert found[name] is None, name
        else:
            assert torch.allclose(found[name], gradient, atol=1e-6), name


def test_replicas_begin_with_the_weights_of_the_first(told):
    for each in told[0]:
        assert_close(each["begins"], forked(seed=0).state_dict())


def test_gradients_are_those_of_one_process_over_all_rows_and_the_same_bits_on_each(told):
    alone = forked()
    (alone(ROWS.flatten(0, 1)).sum() / WORLD).backward()
    for each in told[0]:
        assert_close(each["passes"], gradients(alone))
        for name, gradient in each["passes"].items():
            assert gradient is None or torch.equal(gradient, told[0][0]["passes"][name])


def test_layers_that_some_workers_use_learn_from_these_and_unused_ones_not_at_all(told):
    alone = forked()
    right, left = alone(ROWS[0], "right").sum(), alone(ROWS[1:].flatten(0, 1)).sum()
    ((right + left) / WORLD).backward()
    assert gradients(alone)["idle.weight"] is None
    for each in told[0]:
        assert_close(each["forked"], gradients(alone))


def test_gradients_keep_their_precision(told):
    alone = forked().double()
    (alone(ROWS.flatten(0, 1).double()).sum() / WORLD).backward()
    for name, gradient in gradients(alone).items():
        found = told[0][0]["exact"][name]
        assert gradient is found is None or torch.allclose(found, gradient, atol=1e-14), name


def test_a_worker_that_has_gone_ends_the_backward_pass(told):
    assert "peer" in told[1]


@pytest.mark.parametrize(
    ("model", "small"),
    [
        (nn.Linear(30, 128), True),
        (nn.Linear(700, 700), False),
        (nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)), False),
        (nn.Embedding(9, 2, sparse=True), False),
    ],
    ids=["small", "large", "running statistics", "sparse"],
)
def test_who_is_small(model, small):
    assert is_small(model) is small


def test_frozen_weights_do_not_count():
    model = nn.Sequential(nn.Linear(700, 700).requires_grad_(False), nn.Linear(700, 2))
    assert is_small(model)


def test_a_replica_is_let_go_of_with_its_model(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/g", rank=0, world_size=1)
    try:
        replica = Replica(nn.Linear(3, 1), Exchange("127.0.0.1"))
        replica(torch.ones(2, 3)).sum().backward()
        gone = weakref.ref(replica), weakref.ref(replica.module)
        del replica
        gc.collect()
        assert [each() for each in gone] == [None, None]
    finally:
        dist.destroy_process_group()
