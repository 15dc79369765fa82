"""Module: what is found where, under which name; loading is all or nothing; Sequential."""

from __future__ import annotations

import copy
import functools
import pickle

import numpy as np
import pytest

import tinygrad_bp as bp
from tinygrad_bp import nn


class Block(nn.Module):
    def __init__(self, n=2):
        self.scale = nn.Parameter(np.ones(n))
        self.running = bp.zeros(n)
        self._cache = nn.Parameter(np.ones(9))
        self.note = "text"

    def forward(self, x):
        return x * self.scale


class Tree(nn.Module):
    def __init__(self):
        self.first = nn.Linear(2, 3)
        self.stages = [Block(3), (nn.Parameter([7.0]), {"inner": Block(3)})]
        self.by_name = {"last": nn.Linear(3, 1, bias=False)}

    def forward(self, x):
        x = self.stages[0](self.first(x)) * self.stages[1][0]
        return self.by_name["last"](self.stages[1][1]["inner"](x))


NAMES = ["first.weight", "first.bias", "stages.0.scale", "stages.1.0", "stages.1.1.inner.scale", "by_name.last.weight"]


def test_parameters_are_found_in_order_of_assignment_through_lists_tuples_and_dicts():
    tree = Tree()
    assert [name for name, _ in tree.named_parameters()] == NAMES
    assert [p for p in tree.parameters() if p is tree.stages[1][0]] == [tree.stages[1][0]]
    assert all(isinstance(p, nn.Parameter) and p.requires_grad for p in tree.parameters())


def test_modules_are_found_with_names():
    tree = Tree()
    assert [name for name, _ in tree.named_modules()] == ["", "first", "stages.0", "stages.1.1.inner", "by_name.last"]
    assert next(tree.modules()) is tree
    assert list(tree.children()) == [tree.first, tree.stages[0], tree.stages[1][1]["inner"], tree.by_name["last"]]
    assert list(nn.Sequential(tree).children()) == [tree]


def test_a_tensor_that_is_no_parameter_is_a_buffer():
    tree = Tree()
    assert list(tree.buffers()) == [tree.stages[0].running, tree.stages[1][1]["inner"].running]
    state = tree.state_dict()
    assert set(state) == {*NAMES, "stages.0.running", "stages.1.1.inner.running"}


def test_a_shared_parameter_and_a_shared_module_are_listed_once_under_their_first_names():
    shared = nn.Linear(2, 2)
    net = nn.Sequential(shared, nn.Sigmoid(), shared)
    net.tied = shared.weight
    assert [name for name, _ in net.named_parameters()] == ["0.weight", "0.bias"]
    assert len(list(net.modules())) == 3
    assert len(list(net.children())) == 2


def test_a_module_that_knows_its_parent_is_walked_once():
    tree = Tree()
    tree.first.parent = tree
    assert [name for name, _ in tree.named_parameters()] == NAMES


def test_two_tensors_of_one_name_are_refused():
    module = nn.Module()
    module.a = {"b.c": nn.Parameter([1.0]), "b": {"c": nn.Parameter([2.0])}}
    with pytest.raises(ValueError, match=r"^Module: two tensors are named 'a\.b\.c'\. Rename one attribute\.$"):
        module.state_dict()


def test_train_and_eval_reach_every_module_and_return_self():
    tree = Tree()
    assert tree.training
    assert nn.Module.training
    assert tree.eval() is tree
    assert not any(module.training for module in tree.modules())
    assert tree.train() is tree
    assert all(module.training for module in tree.modules())
    assert not tree.train(False).training
    assert nn.Module.training


def test_zero_grad_forgets_every_gradient():
    tree = Tree()
    tree(np.ones((4, 2))).sum().backward()
    assert all(p.grad is not None for p in tree.parameters())
    tree.zero_grad()
    assert all(p.grad is None for p in tree.parameters())


def test_a_module_without_forward_says_so():
    class Empty(nn.Module):
        pass

    with pytest.raises(NotImplementedError, match=r"^Empty: has no forward\. Define forward\(self, \.\.\.\)"):
        Empty()(1.0)


def test_call_passes_keywords_to_forward():
    class Power(nn.Module):
        def forward(self, x, *, exponent):
            return x**exponent

    assert Power()(3.0, exponent=2) == 9.0


# ---- what would not be trained ------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [bp.Tensor([[1.0, 2.0]]), np.zeros((1, 2)), 0.0, nn.Parameter([[1.0, 2.0]]) * 2.0])
def test_only_a_parameter_takes_the_place_of_a_parameter(value):
    layer = nn.Linear(2, 1)
    before = layer.weight
    message = rf"^Linear: weight is a Parameter; a {type(value).__name__} in its place would not be trained\. "
    with pytest.raises(TypeError, match=message + r"Assign a Parameter, or write into weight\.data\[\.\.\.\]\.$"):
        layer.weight = value
    assert layer.weight is before
    layer.weight = nn.Parameter([[1.0, 2.0]])
    layer.bias = None
    assert list(layer.state_dict()) == ["weight"]


def test_a_leaf_that_requires_grad_must_be_a_parameter():
    module = nn.Module()
    with pytest.raises(
        TypeError, match=r"^Module: w requires grad but is a Tensor, which .*\. Wrap it in nn\.Parameter\.$"
    ):
        module.w = bp.tensor([1.0], requires_grad=True)
    module.w = nn.Parameter([1.0])
    module.buffer = bp.tensor([1.0])
    module.computed = module.w * 2.0
    module._private = bp.tensor([1.0], requires_grad=True)
    assert [name for name, _ in module.named_parameters()] == ["w"]


# ---- Parameter ----------------------------------------------------------------------------------------------------


def test_a_parameter_copies_its_array_and_requires_grad():
    array = np.ones(3)
    for requires_grad in (True, False):
        parameter = nn.Parameter(array, requires_grad)
        array[0] = 5.0
        assert parameter.data[0] == 1.0
        assert parameter.requires_grad is requires_grad
        array[0] = 1.0
    assert nn.Parameter([1.0], dtype="float32").dtype == np.float32
    with pytest.raises(TypeError, match="Parameter: only floating dtypes can require grad, not int64"):
        nn.Parameter([1, 2])


def test_what_is_computed_from_a_parameter_is_a_plain_tensor():
    assert type(nn.Parameter([1.0]) * 2.0) is bp.Tensor


def test_modules_can_be_copied_and_pickled():
    tree = Tree()
    x = np.ones((4, 2))
    expected = tree(x).data
    for twin in (copy.deepcopy(tree), pickle.loads(pickle.dumps(tree))):
        assert isinstance(twin.first.weight, nn.Parameter)
        assert (twin(x).data == expected).all()
        twin.first.weight.data[...] = 0.0
        assert (tree(x).data == expected).all()


def test_a_copy_has_no_gradient():
    layer = nn.Linear(2, 3, dtype="float32")
    layer(np.ones((1, 2), np.float32)).sum().backward()
    layer.bias.requires_grad = False
    layer.again = layer.weight
    twin = copy.deepcopy(layer)
    assert layer.weight.grad is not None
    assert twin.weight.grad is None
    assert twin.weight.dtype == np.float32
    assert twin.weight is twin.again
    assert twin.weight.requires_grad
    assert not twin.bias.requires_grad
    assert not np.shares_memory(twin.weight.data, layer.weight.data)


# ---- state --------------------------------------------------------------------------------------------------------


class Foreign:
    """An array of another library, which does not know `copy`."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None):
        return self.array


def test_arrays_of_other_libraries_are_loaded():
    layer, state = nn.Linear(2, 3), nn.Linear(2, 3).state_dict()
    layer.load_state_dict({name: Foreign(array) for name, array in state.items()})
    assert all(np.array_equal(layer.state_dict()[name], array) for name, array in state.items())
    assert not np.shares_memory(layer.weight.data, state["weight"])


def test_state_dict_holds_copies():
    layer = nn.Linear(2, 3)
    state = layer.state_dict()
    assert type(state["weight"]) is np.ndarray
    state["weight"][...] = 9.0
    assert (layer.weight.data != 9.0).all()


def test_loading_writes_in_place_and_restores_every_bit():
    ours, theirs = Tree(), Tree()
    theirs.stages[0].running.data[...] = 0.5
    arrays = [p.data for p in ours.parameters()]
    assert ours.load_state_dict(theirs.state_dict()) == ([], [])
    assert all(p.data is array for p, array in zip(ours.parameters(), arrays))
    for name, value in theirs.state_dict().items():
        assert (ours.state_dict()[name] == value).all()
        assert ours.state_dict()[name].dtype == value.dtype


def test_tensors_and_the_models_own_arrays_can_be_loaded():
    pair = nn.Module()
    pair.a, pair.b = nn.Parameter([1.0]), nn.Parameter([2.0])
    pair.load_state_dict({"a": pair.b, "b": pair.a.data})
    assert (pair.a.item(), pair.b.item()) == (2.0, 1.0)


def test_every_fault_of_a_state_is_listed_and_nothing_is_loaded():
    net = nn.Sequential(nn.Linear(2, 3), nn.Sigmoid(), nn.Linear(3, 1))
    before = net.state_dict()
    state = {
        "0.weight": np.zeros((2, 3)),
        "0.bias": np.zeros(3, np.float32),
        "2.weight": np.zeros((1, 3)),
        "3.weight": np.zeros(1),
    }
    with pytest.raises(
        ValueError,
        match=r"^load_state_dict: the state does not fit Sequential: missing 2\.bias; unexpected 3\.weight; "
        r"0\.weight has shape \(2, 3\), not \(3, 2\); 0\.bias has dtype float32, not float64\. Nothing was loaded;",
    ):
        net.load_state_dict(state)
    for name, value in before.items():
        assert (net.state_dict()[name] == value).all()


@pytest.mark.parametrize("state", ["a.npz", nn.Linear(2, 3), None, [1.0]])
def test_a_state_that_is_no_dict(state):
    message = (
        rf"^load_state_dict: the state is a {type(state).__name__}\. Pass bp\.load\(path\) or net\.state_dict\(\)\.$"
    )
    with pytest.raises(TypeError, match=message):
        nn.Linear(2, 3).load_state_dict(state)


def test_a_lenient_load_takes_what_fits_and_says_what_did_not():
    layer = nn.Linear(2, 3)
    bias = layer.bias.data.copy()
    assert layer.load_state_dict({"weight": np.zeros((3, 2)), "x": np.ones(1)}, strict=False) == (["bias"], ["x"])
    assert (layer.weight.data == 0.0).all()
    assert (layer.bias.data == bias).all()
    with pytest.raises(ValueError, match=r"the state does not fit Linear: weight has shape \(2,\), not \(3, 2\)\."):
        layer.load_state_dict({"weight": np.zeros(2)}, strict=False)


def test_a_load_between_forward_and_backward_is_noticed():
    layer = nn.Linear(2, 3)
    loss = layer(bp.tensor(np.ones((4, 2)), requires_grad=True)).sum()
    layer.load_state_dict(layer.state_dict())
    with pytest.raises(RuntimeError, match=r"^backward: an input of 'linear' of shape \(3, 2\) was written after"):
        loss.backward()


# ---- Sequential ---------------------------------------------------------------------------------------------------


def test_sequential_composes_modules_and_functions():
    net = nn.Sequential(nn.Linear(2, 3), np.tanh, nn.Sequential(nn.Linear(3, 4)), abs)
    x = np.random.default_rng(0).normal(size=(5, 2))
    inner = np.tanh(x @ net[0].weight.data.T + net[0].bias.data)
    expected = np.abs(inner @ net[2][0].weight.data.T + net[2][0].bias.data)
    assert np.allclose(net(x).data, expected, rtol=1e-14, atol=1e-14)
    assert list(net.state_dict()) == ["0.weight", "0.bias", "2.0.weight", "2.0.bias"]


def test_sequential_is_indexed_sliced_and_iterated():
    net = nn.Sequential(nn.Linear(2, 3), nn.Sigmoid(), nn.Linear(3, 1))
    assert len(net) == 3
    assert list(net) == [net[0], net[1], net[-1]]
    assert isinstance(net[1:], nn.Sequential)
    assert list(net[1:]) == [net[1], net[2]]
    with pytest.raises(IndexError, match="out of range"):
        net[3]


def test_an_empty_sequential_returns_its_input():
    assert nn.Sequential()(3.0) == 3.0


def test_a_subclass_of_sequential_keeps_its_own_attributes():
    class Network(nn.Sequential):
        def __init__(self, sizes):
            super().__init__(*(nn.Linear(n, m) for n, m in zip(sizes[:-1], sizes[1:])))
            self.temperature = nn.Parameter([1.0])

    assert list(Network([2, 3, 1]).state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias", "temperature"]
    assert repr(Network([2, 1])).startswith("Network(\n  (0): Linear(")


def test_what_cannot_be_a_stage_is_refused():
    with pytest.raises(TypeError, match=r"^Sequential: stage 1 is the class ReLU\. Make an instance: ReLU\(\.\.\.\)"):
        nn.Sequential(nn.Linear(2, 3), nn.ReLU)
    with pytest.raises(TypeError, match=r"^Sequential: stage 0 is a list\. Pass modules or functions\.$"):
        nn.Sequential([nn.Linear(2, 3)])


def test_an_error_inside_names_its_stage():
    net = nn.Sequential(nn.Sequential(nn.Linear(2, 3)), nn.Linear(4, 1))
    with pytest.raises(
        ValueError, match=r"^linear: input \(5, 3\) has 3 features, weight \(1, 4\) expects 4"
    ) as caught:
        net(np.ones((5, 2)))
    assert caught.value.__notes__ == ["in stage 1 of Sequential: Linear(in_features=4, out_features=1)"]


def test_repr_is_the_tree():
    net = nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(2, 3), nn.Sigmoid()), np.tanh).eval()
    assert repr(net) == "\n".join(
        [
            "Sequential(",
            "  (0): Flatten(start_dim=1, end_dim=-1)",
            "  (1): Sequential(",
            "    (0): Linear(in_features=2, out_features=3)",
            "    (1): Sigmoid()",
            "  )",
            "  (2): tanh",
            ")",
        ]
    )
    assert repr(nn.Linear(2, 3, bias=False)) == "Linear(in_features=2, out_features=3, bias=None)"
    assert "kernel_size=(3, 5)" in repr(nn.Conv2d(1, 2, (3, 5)))
    assert repr(nn.AdaptiveAvgPool2d((1, None))) == "AdaptiveAvgPool2d(output_size=(1, None))"
    assert repr(Block()) == "Block(note='text')"
    assert repr(Tree()).splitlines()[:3] == [
        "Tree(",
        "  (first): Linear(in_features=2, out_features=3)",
        "  (stages.0): Block(note='text')",
    ]


def test_repr_tells_functions_and_the_stages_and_modules_of_a_sequential():
    class Network(nn.Sequential):
        def __init__(self):
            super().__init__(nn.Tanh(), abs)
            self.width, self.cache = 3, None
            self.head = nn.Identity()
            self.activation = functools.partial(np.maximum, 0.0)

    assert repr(Network()) == "\n".join(
        ["Network(width=3", "  (0): Tanh()", "  (1): abs", "  (head): Identity()", "  (activation): partial", ")"]
    )
    encoder = nn.TransformerEncoderLayer(2, 1, 2, activation=nn.functional.silu)
    assert repr(encoder).endswith("\n  (activation): silu\n)")
    assert "in_proj_bias" not in repr(nn.MultiheadAttention(2, 1, bias=False))
    assert repr(nn.Sequential()) == "Sequential()"


def test_repr_of_a_module_in_itself_ends():
    block = Block()
    block.around = [block]
    assert repr(block) == "Block(note='text'\n  (around.0): ...\n)"


def test_a_read_only_buffer_is_refused_before_anything_is_loaded():
    class Net(nn.Module):
        def __init__(self):
            self.w = nn.Parameter([1.0])
            self.fixed = bp.Tensor(np.broadcast_to(np.ones(1), (2,)))

        def forward(self, x):
            return self.w * x

    net = Net()
    with pytest.raises(ValueError, match="fixed is read-only here"):
        net.load_state_dict({"w": np.array([5.0]), "fixed": np.zeros(2)})
    assert net.w.tolist() == [1.0]


def test_a_call_is_forward_whatever_the_inheritance():
    class A(nn.Module):
        def forward(self, x):
            return "A"

    class Mixin:
        def forward(self, x):
            return "mixin"

    class Both(Mixin, A):
        pass

    both = Both()
    assert both(1) == both.forward(1) == "mixin"
    both.forward = lambda x: "patched"
    assert both(1) == "patched"
