"""The joint utility's gradient, against paper, finite differences, and plain PyTorch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from raydm.data.examples import Examples
from raydm.data.source import Batch
from raydm.data.task import Task
from raydm.errors import ParameterError, RolloutError, RunError
from raydm.joint import Joint
from raydm.metrics import METRICS
from raydm.predictors import SGD, Adam, AdamW, TrainingSets, make_predictor
from raydm.predictors.module import Module
from raydm.utility import Problem

CLASSES, TARGET, TARGETS = Task("classification", 3), Task("regression", 1), Task("regression", 2)
N, M, D = 12, 7, 4
OPTIMIZERS = {
    "sgd": SGD(0.3, momentum=0.0),
    "momentum": SGD(0.2, momentum=0.9, weight_decay=0.1),
    "adam": Adam(0.05, eps=1e-3),
    "adam, decayed": Adam(0.05, weight_decay=0.1),
    "adamw": AdamW(0.05, weight_decay=0.1),
}


class Net(nn.Module):
    """Everything that large modules have: normalisation over the batch, dropout, and smooth layers."""

    def __init__(self, d: int, c: int, *, norm: bool = True, dropout: float = 0.3) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(d, 6), nn.Linear(6, c)
        self.norm = nn.BatchNorm1d(6) if norm else nn.Identity()
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.dropout(self.norm(self.into(x)).tanh()))


def data(task: Task, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, D))
    if task == CLASSES:
        return x, rng.integers(3, size=n)
    return x, 5 + 3 * rng.normal(size=(n, 2) if task == TARGETS else n)


def joint(
    task: Task = CLASSES, optimizer: object = OPTIMIZERS["sgd"], make=Net, batch_size: int = N, **arguments
) -> Joint:
    x, y = data(task, M, 9)
    predictor = Module(make, optimizer=optimizer, batch_size=batch_size, epochs=1, device="cpu")
    problem = Problem(predictor, Examples(x, y, np.arange(M)), task, METRICS["accuracy"], seed=3)
    return Joint(problem, **arguments)


def sets(task: Task = CLASSES, n: int = N, *, soft_y: bool = False) -> TrainingSets:
    x, y = data(task, n)
    rng = np.random.default_rng(1)
    y = rng.dirichlet([1, 1, 1], size=n) if soft_y else y
    return TrainingSets(torch.from_numpy(x), torch.from_numpy(y), torch.from_numpy(rng.uniform(0.2, 2, (1, n))), task)


def warmed(of: Joint, task: Task = CLASSES, steps: int = 3) -> Joint:
    """After some real steps: moments are not 0."""
    for t in range(steps):
        of.carry(lambda: sets(task), step=t)
    return of


def relative_error(of: Joint, given: TrainingSets, name: str, seed: int) -> float:
    """Of the slope along a random direction, against central differences of u itself."""
    tensor = getattr(given, name).clone().requires_grad_()
    (slope,) = torch.autograd.grad(of(dataclasses.replace(given, **{name: tensor}), step=0).sum(), tensor)
    assert slope.shape == tensor.shape
    direction = torch.from_numpy(np.random.default_rng(seed).normal(size=tensor.shape))
    if name == "y" and given.task == CLASSES:
        direction -= direction.mean(-1, keepdim=True)

    def u(h: float) -> float:
        return float(of(dataclasses.replace(given, **{name: tensor.detach() + h * direction}), step=0))

    return abs(float((slope * direction).sum()) / difference(u) - 1)


def difference(u: Callable[[float], float], h: float = 1e-3) -> float:
    """The derivative of u at 0, by central differences of the fourth order."""
    return (8 * (u(h) - u(-h)) - (u(2 * h) - u(-2 * h))) / (12 * h)


@pytest.mark.parametrize("checkpoint", [False, True], ids=["kept", "checkpointed"])
@pytest.mark.parametrize("unroll", [1, 4])
@pytest.mark.parametrize("name", ["w", "x", "y"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_slopes_are_those_of_finite_differences(optimizer, name, unroll, checkpoint):
    of = warmed(joint(optimizer=OPTIMIZERS[optimizer], unroll=unroll, checkpoint=checkpoint))
    assert relative_error(of, sets(soft_y=name == "y"), name, 5) < 1e-6


@pytest.mark.parametrize("task", [TARGET, TARGETS], ids=["one", "two"])
@pytest.mark.parametrize("name", ["w", "x", "y"])
def test_slopes_of_targets_are_those_of_finite_differences(task, name):
    of = warmed(joint(task, OPTIMIZERS["adam"], unroll=2), task)
    assert relative_error(of, sets(task), name, 6) < 1e-6


@pytest.mark.parametrize("look_ahead", ["zero", "weights"])
def test_halves_of_the_trusted_rows_give_their_mean_and_tell_how_much_they_agree(look_ahead):
    def slope(given: TrainingSets, **more) -> tuple[torch.Tensor, torch.Tensor, Joint]:
        of = warmed(
            joint(optimizer=OPTIMIZERS["adam"], make=lambda d, c: nn.Linear(d, c), look_ahead=look_ahead, **more)
        )
        of.taken = 4
        w = given.w.clone().requires_grad_()
        u = of(dataclasses.replace(given, w=w), step=0)
        return u, torch.autograd.grad(u.sum(), w)[0], of

    (u, whole, plain), (again, halves, of) = slope(sets()), slope(sets(), halves=True)
    torch.testing.assert_close(again, u)
    torch.testing.assert_close(halves, whole)
    assert plain.agreement is None
    each, rows = [], of._halved(np.arange(M))
    assert sorted(np.concatenate(rows)) == list(range(M))
    counts = [np.bincount(of._dev[1][half], minlength=3) for half in rows]
    assert abs(counts[0] - counts[1]).max() <= 1
    for half in rows:  # D^v is this half alone
        own = warmed(joint(optimizer=OPTIMIZERS["adam"], make=lambda d, c: nn.Linear(d, c), look_ahead=look_ahead))
        own._dev = own._dev[0][half], own._dev[1][half]
        w = sets().w.clone().requires_grad_()
        each.append(torch.autograd.grad(own(dataclasses.replace(sets(), w=w), step=0).sum(), w)[0][0].numpy())
    assert of.agreement == pytest.approx(np.corrcoef(*each)[0, 1], abs=1e-9)
    of.taken += 1  # each second step is judged whole
    of(dataclasses.replace(sets(), w=sets().w.clone().requires_grad_()), step=1)
    assert of.agreement is None


def test_logistic_meta_gradient_on_paper():
    # One SGD step: g_i = (p_i - onehot y_i) x_i', and dL(theta')/dw_i = -lr / B <grad L(theta'), g_i>.
    x, y = data(CLASSES, N)
    valid_x, valid_y = data(CLASSES, M, 9)
    of, given = joint(make=lambda d, c: nn.Linear(d, c)), sets()
    weight, bias = (p.detach().numpy() for p in of.theta.params)

    def errors(w: np.ndarray, b: np.ndarray, rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
        z = rows @ w.T + b
        p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
        return p - np.eye(3)[labels]

    e, w = errors(weight, bias, x, y), given.w[0].numpy()
    stepped = weight - 0.3 * (w * e.T) @ x / N, bias - 0.3 * (w * e.T).sum(-1) / N
    v = errors(*stepped, valid_x, valid_y) / M
    expected = 0.3 / N * (e @ v.T * (x @ valid_x.T + 1)).sum(-1)
    weights = given.w.clone().requires_grad_()
    (slope,) = torch.autograd.grad(of(dataclasses.replace(given, w=weights), step=0).sum(), weights)
    np.testing.assert_allclose(slope[0].numpy(), expected, rtol=1e-10)


def test_linear_meta_gradient_on_paper():
    # One weight, no bias, D^v = (1, 2) and (1, 0): targets -1, 1 after standardisation, so that L = theta^2 + 1. Of one
    # example (x, y), g = 2 x (theta x - t), t = y - 1; theta' = theta - lr w g; du/dw = 2 theta' lr g.
    class Line(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.theta = nn.Parameter(torch.tensor(0.5, dtype=torch.float64))

        def forward(self, x: Tensor) -> Tensor:
            return self.theta * x

    predictor = Module(lambda d, c: Line(), optimizer=SGD(0.1, 0.0), epochs=1, device="cpu")
    valid = Examples(np.ones((2, 1)), np.array([2.0, 0.0]), np.arange(2))
    of = Joint(Problem(predictor, valid, TARGET, METRICS["rmse"], seed=0))
    w = torch.tensor([[0.7]], dtype=torch.float64, requires_grad=True)
    u = of(TrainingSets(torch.tensor([[3.0]]).double(), torch.tensor([4.0]).double(), w, TARGET), step=0)
    g = 2 * 3 * (0.5 * 3 - 3)
    ahead = 0.5 - 0.1 * 0.7 * g
    assert u.item() == pytest.approx(-(ahead**2 + 1), rel=1e-12)
    assert torch.autograd.grad(u.sum(), w)[0].item() == pytest.approx(2 * ahead * 0.1 * g, rel=1e-12)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_the_utility_is_the_dev_loss_after_a_step_of_plain_pytorch(optimizer):
    of, given = joint(optimizer=OPTIMIZERS[optimizer], make=lambda d, c: Net(d, c, dropout=0.0)), sets()
    module = Net(D, 3, dropout=0.0).double()
    module.load_state_dict(dict(zip(of.of.names, of.theta.params, strict=True)) | of.theta.buffers)
    theirs = (
        torch.optim.SGD(module.parameters(), lr=0.3)
        if optimizer == "sgd"
        else torch.optim.Adam(module.parameters(), lr=0.05, eps=1e-3)
    )
    valid_x, valid_y = (torch.from_numpy(a) for a in data(CLASSES, M, 9))
    for t in range(3):
        u = of(given, step=t)
        of.carry(lambda: given, step=t)
        (given.w[0] * functional.cross_entropy(module(given.x), given.y, reduction="none")).mean().backward()
        theirs.step()
        theirs.zero_grad()
        running = {k: b.clone() for k, b in module.named_buffers()}
        judged = functional.cross_entropy(module(valid_x), valid_y)  # in training mode: the batch's statistics
        module.load_state_dict(running, strict=False)
        assert u.item() == pytest.approx(-judged.item(), rel=1e-9)
        for name, buffer in of.theta.buffers.items():  # the look-ahead and D^v left no trace in them
            torch.testing.assert_close(buffer, running[name])
        for ours, reference in zip(of.theta.params, module.parameters(), strict=True):
            torch.testing.assert_close(ours, reference)


def test_dropout_is_the_same_in_the_look_ahead_and_in_the_step_taken():
    # With w as it is and phi unmoved, the real step leads exactly where the look-ahead looked.
    of, given = joint(optimizer=OPTIMIZERS["adam"], make=lambda d, c: Net(d, c, norm=False)), sets()
    u = of(given, step=0)
    of.carry(lambda: TrainingSets(given.x.clone(), given.y, given.w, CLASSES), step=0)  # other rows: no graph is kept
    assert -u.item() == pytest.approx(of.dev_loss(), rel=1e-12)
    assert of(given, step=1) != u


@pytest.mark.parametrize("name", ["x", "w"])
def test_a_real_step_is_the_same_whether_the_look_ahead_s_graph_is_used_again_or_not(name):
    kept, fresh, given = joint(optimizer=OPTIMIZERS["adam"]), joint(optimizer=OPTIMIZERS["adam"]), sets()
    tensor = getattr(given, name).clone().requires_grad_()
    ahead = dataclasses.replace(given, **{name: tensor})
    kept(ahead, step=0)
    kept.carry(lambda: ahead, step=0)
    fresh.carry(lambda: given, step=0)
    for a, b in zip(kept.theta.params, fresh.theta.params, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=0)


def test_carrying_an_unrolled_set_is_training_its_minibatches_in_order():
    whole, apart, given = (
        joint(unroll=3, optimizer=OPTIMIZERS["momentum"]),
        joint(optimizer=OPTIMIZERS["momentum"]),
        sets(),
    )
    make = lambda a: TrainingSets(given.x[a : a + 4], given.y[a : a + 4], given.w[:, a : a + 4], CLASSES)
    u = whole(given, step=0)
    whole.carry(lambda: given, step=0)
    masks = [whole._seed(j) for j in range(3)]
    whole.taken -= 1
    masks = [whole._seed(j) for j in range(3)]
    for a, mask in zip((0, 4, 8), masks, strict=True):
        apart._seed = lambda j, mask=mask: mask
        apart.carry(lambda a=a: make(a), step=0)
    for ours, reference in zip(whole.theta.params, apart.theta.params, strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-12, atol=0)
    assert torch.isfinite(u).all()


def test_where_an_operation_has_no_forward_mode_the_slopes_come_from_two_backward_passes():
    class Odd(torch.autograd.Function):
        @staticmethod
        def forward(x):
            return x.square()

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx, grad):
            return 2 * ctx.saved_tensors[0] * grad

    class Squared(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return Odd.apply(super().forward(x))

    of = joint(make=lambda d, c: Squared(d, c), optimizer=OPTIMIZERS["adam"])
    assert relative_error(of, sets(), "w", 2) < 1e-6
    assert not of.of.forward_mode


def test_a_forward_mode_that_fails_in_other_words_is_done_without_too():
    class Strided(nn.Module):
        """torch's GroupNorm has a forward mode, which fails on pixels that are not contiguous: "view size ..."."""

        def __init__(self, d: int, c: int) -> None:
            super().__init__()
            self.widen, self.norm, self.out = nn.Conv2d(1, 4, 1), nn.GroupNorm(2, 4), nn.Linear(4 * d, c)

        def forward(self, x: Tensor) -> Tensor:
            pixels = self.widen(x[:, None, :, None]).to(memory_format=torch.channels_last)
            return self.out(self.norm(pixels).flatten(1))

    of = joint(make=lambda d, c: Strided(d, c), optimizer=OPTIMIZERS["adam"])
    assert relative_error(of, sets(), "w", 2) < 1e-6


class Attention(nn.Module):
    """What text has: token ids, an embedding, attention and layer normalisation."""

    def __init__(self, c: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.words = nn.Embedding(11, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout, "gelu", batch_first=True)
        self.head = nn.Linear(8, c)
        self.double()

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.layer(self.words(ids), src_key_padding_mask=ids == 0).mean(1))


def words(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 11, size=(n, 5))


@pytest.mark.parametrize("unroll", [1, 2])
def test_slopes_of_token_ids_through_attention(unroll):
    valid = Examples(words(M, 1), data(CLASSES, M)[1], np.arange(M))
    predictor = Module(lambda d, c: Attention(c), optimizer=AdamW(0.01), epochs=1, device="cpu")
    of = Joint(Problem(predictor, valid, CLASSES, METRICS["accuracy"], seed=0), unroll=unroll)
    given = dataclasses.replace(sets(), x=torch.from_numpy(words(N, 2)))
    of.carry(lambda: given, step=0)
    assert relative_error(of, given, "w", 2) < 1e-6
    assert of.of.forward_mode


@pytest.mark.parametrize(("unroll", "name", "pool"), [
    (1, "x", nn.AvgPool2d(2)),  # a maximum's place may change within a finite difference of x
    (1, "w", nn.MaxPool2d(2)),
    (2, "x", nn.AvgPool2d(2)),
    (2, "w", nn.AvgPool2d(2)),
])  # fmt: skip
def test_slopes_of_images_through_convolutions(unroll, name, pool):
    def make(_: int, c: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.Softplus(), pool, nn.AdaptiveAvgPool2d(2),
            nn.Flatten(), nn.Linear(12, c),
        )  # fmt: skip

    rng = np.random.default_rng(0)
    valid = Examples(rng.normal(size=(M, 2, 8, 8)), data(CLASSES, M)[1], np.arange(M))
    predictor = Module(make, optimizer=SGD(0.1), epochs=1, device="cpu")
    of = Joint(Problem(predictor, valid, CLASSES, METRICS["accuracy"], seed=0), unroll=unroll)
    given = dataclasses.replace(sets(), x=torch.from_numpy(rng.normal(size=(N, 2, 8, 8))))
    assert given.x_is_shared
    assert relative_error(of, given, name, 3) < 1e-6


class Pairs:
    """Rows of two tensors, one of which may have a gradient: as soft tokens are."""

    def __init__(self, ids: Tensor, extra: Tensor) -> None:
        self.ids, self.extra = ids, extra

    def leaves(self) -> list[Tensor]:
        return [self.extra]

    def detached(self) -> Pairs:
        return Pairs(self.ids, self.extra.detach())

    def to(self, device: torch.device) -> Pairs:
        return Pairs(self.ids.to(device), self.extra.to(device))

    def __getitem__(self, rows: slice) -> Pairs:
        return Pairs(self.ids[rows], self.extra[rows])

    def __len__(self) -> int:
        return len(self.ids)


@pytest.mark.parametrize("unroll", [1, 3])
def test_rows_may_be_made_of_several_tensors(unroll):
    class Reads(Attention):
        def forward(self, x: Pairs | Tensor) -> Tensor:
            ids, extra = (x, 0.0) if isinstance(x, Tensor) else (x.ids, x.extra)
            return self.head((self.words(ids) + extra).tanh().mean(1))

    valid = Examples(words(M, 1), data(CLASSES, M)[1], np.arange(M))
    torch.manual_seed(0)
    predictor = Module(lambda d, c: Reads(c), optimizer=Adam(0.05, eps=1e-3), epochs=1, device="cpu")
    of = Joint(Problem(predictor, valid, CLASSES, METRICS["accuracy"], seed=0), unroll=unroll)
    ids, phi = torch.from_numpy(words(N, 2)), torch.randn(N, 5, 8, dtype=torch.float64, requires_grad=True)

    def u(extra: Tensor) -> Tensor:
        return of(TrainingSets(Pairs(ids, extra), sets().y, sets().w, CLASSES), step=0).sum()

    of.carry(lambda: TrainingSets(Pairs(ids, phi), sets().y, torch.ones(1, N), CLASSES), step=0)
    (slope,) = torch.autograd.grad(u(phi), phi)
    direction = torch.randn_like(slope)
    numeric = difference(lambda h: float(u(phi.detach() + h * direction)))
    assert float((slope * direction).sum()) == pytest.approx(numeric, rel=1e-6)


def test_a_parameter_that_layers_share_is_one():
    class Tied(nn.Module):
        def __init__(self, d: int, c: int) -> None:
            super().__init__()
            self.a, self.b, self.out = nn.Linear(d, d), nn.Linear(d, d), nn.Linear(d, c)
            self.b.weight = self.a.weight
            self.again = self.a  # and one layer that stands twice

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.again(self.b(self.a(x).tanh()).tanh()))

    of = joint(make=Tied, optimizer=OPTIMIZERS["adam"])
    assert len(of.theta.params) == 5
    own = [p.clone() for p in of.of.module.parameters()]
    assert relative_error(of, sets(), "w", 2) < 1e-6
    assert all(torch.equal(a, b) for a, b in zip(own, of.of.module.parameters(), strict=True))


def test_frozen_parameters_stay():
    def make(d: int, c: int) -> nn.Module:
        net = Net(d, c)
        net.into.requires_grad_(False)
        return net

    of = joint(make=make)
    before = of.of.module.into.weight.clone()
    assert relative_error(warmed(of), sets(), "w", 2) < 1e-6
    assert "into.weight" not in of.of.names
    assert torch.equal(of.of.module.into.weight, before)


def test_at_zero_the_slopes_are_those_at_weights_of_zero():
    given, w = sets(), torch.zeros(1, N, dtype=torch.float64, requires_grad=True)
    for optimizer in ("sgd", "momentum", "adam"):
        at_zero = warmed(joint(optimizer=OPTIMIZERS[optimizer], look_ahead="zero"))
        at_weights = warmed(joint(optimizer=OPTIMIZERS[optimizer]))
        weights = given.w.clone().requires_grad_()
        (got,) = torch.autograd.grad(at_zero(dataclasses.replace(given, w=weights), step=0).sum(), weights)
        (expected,) = torch.autograd.grad(at_weights(dataclasses.replace(given, w=w), step=0).sum(), w)
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-15)


def test_weights_of_zero_take_no_step():
    of = warmed(joint(optimizer=OPTIMIZERS["momentum"]))
    before, updates = [p.clone() for p in of.theta.params], of.theta.updates
    of.carry(lambda: dataclasses.replace(sets(), w=torch.zeros(1, N)), step=9)
    assert all(torch.equal(a, b) for a, b in zip(before, of.theta.params, strict=True))
    assert (of.theta.updates, of.taken) == (updates, 4)


def test_saved_and_restored_it_goes_on_to_the_bit(tmp_path):
    of = warmed(joint(optimizer=OPTIMIZERS["adam"]))
    of.save(tmp_path)
    other = joint(optimizer=OPTIMIZERS["adam"])
    other.restore(tmp_path)
    for t in range(3, 5):
        assert torch.equal(of(sets(), step=t), other(sets(), step=t))
        of.carry(sets, step=t)
        other.carry(sets, step=t)
    assert of.dev_loss() == other.dev_loss()
    (tmp_path / "joint.safetensors").write_bytes(b"torn")
    with pytest.raises(RunError, match="cannot be read"):
        other.restore(tmp_path)


def test_the_current_losses_and_predictions():
    of, given = warmed(joint(make=lambda d, c: Net(d, c, norm=False, dropout=0.0))), sets()
    batch = Batch(np.arange(N), given.x, given.y)
    p = of.predictions(given, given.x, step=0)
    assert p.shape == (1, N, 3)
    torch.testing.assert_close(of.losses(batch), -p[0].gather(-1, given.y[:, None])[:, 0].log())
    valid = torch.from_numpy(data(CLASSES, M, 9)[0])
    truth = torch.from_numpy(data(CLASSES, M, 9)[1])
    expected = -of.predictions(given, valid, step=0)[0].gather(-1, truth[:, None]).log().mean()
    assert of.dev_loss() == pytest.approx(expected.item())


def test_a_dev_batch_is_drawn_anew_at_each_step_by_the_seed():
    of, again = (joint(dev_batch=3, make=lambda d, c: Net(d, c, norm=False, dropout=0.0)) for _ in range(2))
    given = dataclasses.replace(sets(), w=torch.zeros(1, N))  # theta stays: only the rows of D^v change
    seen = []
    for t in range(3):
        u = of(given, step=t)
        assert torch.equal(u, again(given, step=t))
        seen.append(u.item())
        of.carry(lambda: given, step=t)
        again.carry(lambda: given, step=t)
    assert len(set(seen)) == 3


def test_bad_arguments_are_refused():
    x, y = data(CLASSES, M, 9)
    stacked = Problem(make_predictor("logistic"), Examples(x, y, np.arange(M)), CLASSES, METRICS["accuracy"], seed=0)
    with pytest.raises(ParameterError, match="'predictor' parameter of Joint"):
        Joint(stacked)
    with pytest.raises(ParameterError, match="'unroll'"):
        joint(unroll=0)
    with pytest.raises(ParameterError, match="'look_ahead'"):
        joint(look_ahead="far")
    with pytest.raises(ParameterError, match="one theta"):
        joint()(dataclasses.replace(sets(), w=torch.ones(2, N)), step=0)
    with pytest.raises(ParameterError, match="for weights"):
        joint(look_ahead="zero")(dataclasses.replace(sets(), x=sets().x.requires_grad_()), step=0)


def test_what_is_not_finite_is_told():
    given = dataclasses.replace(sets(), w=torch.full((1, N), torch.inf))
    with pytest.raises(RolloutError, match=r"Step 7: the score.*lower its learning rate"):
        joint()(given, step=7)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_recurrent_layers_are_looked_ahead_through_without_cudnn(kind):
    # cuDNN's have no second derivative, and none at all outside of training; elsewhere than on a GPU it has no part.
    class Recurrent(nn.Module):
        def __init__(self, d: int, c: int) -> None:
            super().__init__()
            self.layer, self.readout = kind(1, 3, batch_first=True), nn.Linear(3, c)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            enabled.append(torch.backends.cudnn.enabled)
            return self.readout(self.layer(x.unsqueeze(-1))[0][:, -1])

    enabled: list[bool] = []
    rng, task = np.random.default_rng(0), Task("classification", 2)
    x, y = rng.normal(size=(8, 4)).astype(np.float32), np.arange(8) % 2
    predictor = Module(Recurrent, optimizer=Adam(0.1), batch_size=8, epochs=1, device="cpu")
    joint = Joint(Problem(predictor, Examples(x, y, np.arange(8)), task, METRICS["accuracy"], seed=0))
    w = torch.ones(1, 8, requires_grad=True)
    joint(TrainingSets(torch.from_numpy(x), torch.from_numpy(y), w, task), step=0).sum().backward()
    assert w.grad is not None
    assert w.grad.abs().sum() > 0
    assert set(enabled) == {False}
    assert torch.backends.cudnn.enabled
