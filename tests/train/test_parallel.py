import contextlib
import subprocess
import sys

import pytest
import torch
from torch import distributed as dist
from torch import nn

from distml.errors import UserError
from distml.rehearsal import rehearsal
from distml.train.momenta import begin_with_momenta, load_momenta, momenta
from distml.train.parallel import (
    Parallel,
    are_finite,
    bare,
    check_precision,
    choose_device,
)
from distml.train.state import pack, to_cpu, unpack

CPU = torch.device("cpu")


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))


def trained(wrapped, optimizer, steps=2):
    for step in range(steps):
        optimizer.zero_grad()
        wrapped(torch.full((2, 3), 1.0 + step)).square().mean().backward()
        optimizer.step()


@contextlib.contextmanager
def group_of_one(tmp_path):
    """A process group of one worker: wrappers do all they do, but for waiting."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/g", rank=0, world_size=1)
    try:
        yield
    finally:
        dist.destroy_process_group()


def test_without_workers_the_model_is_itself():
    model = network()
    parallel = Parallel(device=CPU)
    assert parallel.wrap(model) is model
    assert bare(model) is model
    assert parallel.sum([1.5, 2.0]) == [1.5, 2.0]


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
@pytest.mark.filterwarnings("ignore::UserWarning")  # FSDP on a CPU
def test_state_leaves_whole_under_the_bare_models_names_and_goes_to_any_strategy(
    tmp_path, strategy
):
    plain = network()
    optimizer = torch.optim.AdamW(plain.parameters(), lr=0.1)
    trained(plain, optimizer)
    alone = Parallel(device=CPU)
    expected = to_cpu([alone.weights(plain), alone.optimizer_state(plain, optimizer)])
    with group_of_one(tmp_path):
        parallel = Parallel(device=CPU, world_size=2, strategy=strategy)
        model = parallel.wrap(network())
        own = torch.optim.AdamW(model.parameters(), lr=0.1)
        trained(model, own)
        kept, _ = unpack(pack([parallel.weights(model), parallel.optimizer_state(model, own)]))
        assert kept[0].keys() == expected[0].keys()
        for name, weight in kept[0].items():
            assert torch.allclose(weight, expected[0][name], atol=1e-6)
        assert kept[1]["kind"] == "AdamW"
        assert kept[1]["state"].keys() == expected[1]["state"].keys()
        # To one process alone ...
        other = network()
        another = torch.optim.AdamW(other.parameters(), lr=0.5)
        alone.load_weights(other, kept[0])
        alone.load_optimizer(other, another, kept[1])
        assert another.param_groups[0]["lr"] == 0.1
        # ... and back.
        back = parallel.wrap(network())
        again = torch.optim.AdamW(back.parameters(), lr=0.5)
        parallel.load_weights(back, expected[0])
        parallel.load_optimizer(back, again, expected[1])
        for each, stepping in ((plain, optimizer), (other, another), (back, again)):
            trained(each, stepping, steps=1)
        wholes = [alone.weights(plain), alone.weights(other), parallel.weights(back)]
        for whole in wholes[1:]:
            for name, weight in wholes[0].items():
                assert torch.allclose(whole[name], weight, atol=1e-6), name


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_a_new_optimizer_goes_on_where_a_former_was(tmp_path, strategy):
    plain = network()
    former = torch.optim.AdamW(plain.parameters(), lr=0.1)
    trained(plain, former)
    kept = momenta(plain, former)
    with group_of_one(tmp_path):
        parallel = Parallel(device=CPU, world_size=2, strategy=strategy)
        model = parallel.wrap(network())
        own = torch.optim.AdamW(model.parameters(), lr=0.01)
        parallel.go_on(model, own, kept)
        state = parallel.optimizer_state(model, own)
    assert state["param_groups"][0]["lr"] == 0.01
    for name, values in kept["state"].items():
        assert torch.allclose(state["state"][name]["exp_avg"], values["exp_avg"])
        assert float(state["state"][name]["step"]) == 2.0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # inside torch's compiler
def test_compiling_changes_no_names():
    model = network()
    parallel = Parallel(device=CPU, compile=True)
    wrapped = parallel.wrap(model)
    assert wrapped is not model
    assert bare(wrapped) is model
    assert parallel.weights(wrapped).keys() == model.state_dict().keys()


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_gradients_of_micro_batches_add_up_unsynchronised(tmp_path, strategy):
    rows = torch.arange(12.0).reshape(4, 3)
    plain = network()
    plain(rows).sum().backward()
    with group_of_one(tmp_path):
        parallel = Parallel(device=CPU, world_size=2, strategy=strategy)
        model = parallel.wrap(network())
        with parallel.unsynchronised(model):
            model(rows[:1]).sum().backward()
        model(rows[1:]).sum().backward()
        for own, other in zip(model.parameters(), plain.parameters(), strict=True):
            grad = own.grad.full_tensor() if strategy == "fsdp" else own.grad
            assert torch.allclose(grad, other.grad, atol=1e-5)


OUTLIVES = """
import sys, torch
from torch import distributed as dist, nn
from distml.train.parallel import Parallel
def train(number):
    dist.init_process_group("gloo", f"file://{sys.argv[1]}/{number}", rank=0, world_size=1)
    model = Parallel(device=torch.device("cpu"), world_size=2).wrap(nn.Linear(3, 1))
    model(torch.ones(4, 3)).sum().backward()
    dist.destroy_process_group()
for number in range(1000):
    train(number)
"""


@pytest.mark.slow
def test_a_replica_that_outlives_its_process_group_waits_for_nobody(tmp_path):
    # In a process of its own: what waits there hears no signal but one that ends it.
    done = subprocess.run([sys.executable, "-c", OUTLIVES, str(tmp_path)], timeout=120)

    assert done.returncode == 0


def test_frozen_networks_need_no_wrapper(tmp_path):
    model = network().requires_grad_(False)
    with group_of_one(tmp_path):
        assert Parallel(device=CPU, world_size=2).wrap(model) is model


def test_precision_is_that_of_the_forward_pass_alone():
    model = network()
    with Parallel(device=CPU, precision="bf16").autocast():
        assert model(torch.ones(1, 3)).dtype == torch.bfloat16
    with Parallel(device=CPU).autocast():
        assert model(torch.ones(1, 3)).dtype == torch.float32
    assert not Parallel(device=CPU, precision="bf16").scaler().is_enabled()


def test_fp16_without_a_gpu_is_refused():
    with pytest.raises(UserError, match="precision='fp16' needs a GPU; on a CPU use 'bf16'"):
        Parallel(device=CPU, precision="fp16")


class OldCard:
    """A GPU that has no bf16."""

    def is_bf16_supported(self):
        return False

    def get_device_name(self, device):
        return "Old Card"


def test_bf16_on_a_gpu_that_has_none_is_refused_by_its_name(monkeypatch):
    monkeypatch.setattr(torch, "cuda", OldCard())
    with pytest.raises(UserError, match="precision='bf16' is not supported by Old Card"):
        check_precision("bf16", torch.device("cuda", 0))


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
def test_a_gpu_that_is_not_there_is_refused_and_none_is_taken_by_itself():
    assert choose_device(None) == choose_device(0) == CPU
    for gpus in (1, 0.5):
        with pytest.raises(UserError, match=f"gpus_per_worker={gpus}: torch sees no GPU"):
            choose_device(gpus)
    with rehearsal():  # a sample of what will run where there is one
        assert choose_device(1) == CPU


@pytest.mark.parametrize("value", [float("nan"), float("inf")], ids=["nan", "inf"])
def test_weights_that_are_no_numbers_are_seen(value):
    model = network()
    assert are_finite(model)
    with torch.no_grad():
        model[2].bias[0] = value
    assert not are_finite(model)


def test_momenta_are_named_and_come_back_to_fewer_weights():
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    trained(model, optimizer)
    kept = momenta(model, optimizer)
    assert kept["state"].keys() == {"0.weight", "0.bias", "2.weight", "2.bias"}
    model[0].requires_grad_(False)
    fewer = torch.optim.Adam(model[2].parameters(), lr=0.2)
    with pytest.raises(ValueError, match="other weights"):
        load_momenta(model, fewer, kept)
    load_momenta(model, fewer, begin_with_momenta(momenta(model, fewer), kept))
    found = momenta(model, fewer)
    assert found["state"].keys() == {"2.weight", "2.bias"}
    assert torch.equal(found["state"]["2.bias"]["exp_avg"], kept["state"]["2.bias"]["exp_avg"])
    assert found["param_groups"][0]["lr"] == 0.2


def test_momenta_of_another_kind_of_optimizer_are_refused():
    model = network()
    kept = momenta(model, torch.optim.Adam(model.parameters()))
    other = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="was Adam and is SGD"):
        load_momenta(model, other, kept)
    assert begin_with_momenta(momenta(model, other), kept) is None


def test_weights_of_no_model_are_numbered_as_torch_does():
    weight = nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
    weight.sum().backward()
    optimizer.step()
    kept = momenta(nn.Module(), optimizer)
    other = torch.optim.SGD([weight], lr=0.5, momentum=0.9)
    load_momenta(nn.Module(), other, kept)
    assert str(other.state_dict()) == str(optimizer.state_dict())
