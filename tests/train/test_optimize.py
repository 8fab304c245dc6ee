import math

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from distml.errors import UserError
from distml.train.optimize import freeze_weights, make_optimizer, make_scheduler, weight_groups
from distml.train.state import pack, unpack

STEPS = 40


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))


def groups_of(model, **options):
    return weight_groups(model, 0.1, options.get("factors"))


def rates(scheduler, optimizer, steps=STEPS):
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def made(scheduler, warmup=0.0):
    optimizer = make_optimizer("sgd", groups_of(network()), lr=0.1)
    return rates(make_scheduler(scheduler, optimizer, total_steps=STEPS, warmup=warmup), optimizer)


def judged(scheduler_of):
    optimizer = torch.optim.SGD(network().parameters(), lr=0.1)
    return rates(scheduler_of(optimizer), optimizer)


@pytest.mark.parametrize(
    ("name", "scheduler_of"),
    [
        (None, lambda o: lr_scheduler.ConstantLR(o, factor=1.0)),
        ("cosine", lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=STEPS)),
        ("linear", lambda o: lr_scheduler.LinearLR(o, 1.0, 0.0, total_iters=STEPS)),
    ],
    ids=["constant", "cosine", "linear"],
)
def test_schedules_are_those_of_torch(name, scheduler_of):
    assert made(name) == pytest.approx(judged(scheduler_of), rel=1e-6, abs=1e-9)


def test_one_cycle_rises_for_three_tenths_from_a_25th_and_falls_to_nothing():
    found = made("onecycle")
    peak = round(0.3 * STEPS)
    expected = [
        0.1 * (0.04 + 0.96 * step / peak)
        if step < peak
        else 0.05 * (1 + math.cos(math.pi * (step - peak) / (STEPS - peak)))
        for step in range(STEPS)
    ]
    assert found == pytest.approx(expected)
    assert max(found) == found[peak] == pytest.approx(0.1)
    assert found[0] == pytest.approx(0.1 / 25)


def test_one_cycle_is_near_torchs():
    def judge(optimizer):
        return lr_scheduler.OneCycleLR(
            optimizer, 0.1, total_steps=STEPS + 1, anneal_strategy="cos", cycle_momentum=False
        )

    assert made("onecycle") == pytest.approx(judged(judge), abs=0.02)


@pytest.mark.parametrize("name", [None, "cosine", "linear"])
def test_warmup_rises_evenly_and_then_the_schedule_has_the_rest(name):
    found = made(name, warmup=0.25)
    assert found[:10] == pytest.approx([0.1 * (step + 1) / 11 for step in range(10)])
    assert found[10] == pytest.approx(0.1)
    if name == "linear":
        assert found[10:] == pytest.approx([0.1 * (1 - step / 30) for step in range(30)])


@pytest.mark.parametrize("name", ["cosine", "linear", "onecycle", None])
def test_schedule_goes_on_from_its_state_which_a_checkpoint_holds(name):
    whole = made(name, warmup=0.1)
    first = make_optimizer("adamw", groups_of(network()), lr=0.1)
    schedule = make_scheduler(name, first, total_steps=STEPS, warmup=0.1)
    rates(schedule, first, 17)
    kept, _ = unpack(pack([first.state_dict(), schedule.state_dict()]))
    second = make_optimizer("adamw", groups_of(network()), lr=0.1)
    other = make_scheduler(name, second, total_steps=STEPS, warmup=0.1)
    second.load_state_dict(kept[0])
    other.load_state_dict(kept[1])
    assert rates(other, second, STEPS - 17) == pytest.approx(whole[17:])


def test_schedule_of_the_users_gets_the_optimizer_and_the_steps():
    def mine(optimizer, total_steps):
        return lr_scheduler.StepLR(optimizer, total_steps // 2, 0.5)

    assert made(mine) == pytest.approx([0.1] * 20 + [0.05] * 20)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda o: make_scheduler("cosin", o, total_steps=3), "scheduler='cosin' is none of"),
        (lambda o: make_optimizer("lion", [], lr=0.1), "optimizer='lion' is none of adam"),
    ],
    ids=["scheduler", "optimizer"],
)
def test_unknown_names_are_refused_with_those_there_are(call, said):
    optimizer = make_optimizer("sgd", groups_of(network()), lr=0.1)
    with pytest.raises(UserError, match=said):
        call(optimizer)


def stepped(optimizer_of):
    model = network()
    optimizer = optimizer_of(model)
    for step in range(5):
        optimizer.zero_grad()
        model(torch.full((4, 2), 1.0 + step)).square().mean().backward()
        optimizer.step()
    return torch.cat([weight.flatten() for weight in model.parameters()])


@pytest.mark.parametrize(
    ("name", "judge"),
    [
        ("adam", lambda w: torch.optim.Adam(w, lr=0.1, weight_decay=0.01)),
        ("adamw", lambda w: torch.optim.AdamW(w, lr=0.1, weight_decay=0.01)),
        ("rmsprop", lambda w: torch.optim.RMSprop(w, lr=0.1, weight_decay=0.01)),
        (
            "sgd",
            lambda w: torch.optim.SGD(w, lr=0.1, weight_decay=0.01, momentum=0.9, nesterov=True),
        ),
        (torch.optim.NAdam, lambda w: torch.optim.NAdam(w, lr=0.1, weight_decay=0.01)),
    ],
    ids=["adam", "adamw", "rmsprop", "sgd", "class"],
)
def test_optimizers_are_those_of_torch(name, judge):
    ours = stepped(lambda m: make_optimizer(name, groups_of(m), lr=0.1, weight_decay=0.01))
    assert torch.allclose(ours, stepped(lambda m: judge(m.parameters())), atol=1e-6)


def test_frozen_weights_are_named_and_do_not_learn():
    model = network()
    assert freeze_weights(model, ["^0"]) == ["0.weight", "0.bias"]
    learning = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert learning == ["2.weight", "2.bias"]
    assert freeze_weights(network(), []) == []


@pytest.mark.parametrize(
    ("patterns", "said"),
    [
        (["^0", "layer9"], "freeze: 'layer9' matches none of the weights; there is 0.weight"),
        (["."], "freezes all weights; leave some to learn"),
        (["("], "is no regular expression"),
    ],
    ids=["nothing", "all", "no pattern"],
)
def test_freezing_refuses_what_makes_no_sense(patterns, said):
    with pytest.raises(UserError, match=said) as caught:
        freeze_weights(network(), patterns)
    assert "\n" not in str(caught.value)


def test_the_first_pattern_that_is_found_gives_the_rate():
    model = network()
    groups = weight_groups(model, 0.1, {"^0": 0.1, "bias": 0.5})
    found = {
        name: group["lr"]
        for group in groups
        for name, weight in model.named_parameters()
        if any(weight is other for other in group["params"])
    }
    assert found == {
        "0.weight": pytest.approx(0.01),
        "0.bias": pytest.approx(0.01),
        "2.weight": pytest.approx(0.1),
        "2.bias": pytest.approx(0.05),
    }


def test_factors_keep_their_ratio_under_a_schedule():
    model = network()
    optimizer = make_optimizer("sgd", weight_groups(model, 0.1, {"^0": 0.1}), lr=0.1)
    schedule = make_scheduler("cosine", optimizer, total_steps=STEPS)
    for _ in range(STEPS - 1):
        slow, fast = (group["lr"] for group in optimizer.param_groups)
        assert slow == pytest.approx(fast / 10)
        optimizer.step()
        schedule.step()


def test_frozen_weights_are_in_no_group():
    model = network()
    freeze_weights(model, ["^0"])
    (group,) = groups_of(model)
    assert len(group["params"]) == 2


def test_factor_for_nothing_is_refused():
    with pytest.raises(UserError, match="lr_factors: 'x' matches none of the weights"):
        weight_groups(network(), 0.1, {"x": 2.0})
