"""Whole documents, drawn: data, a model that fits them, a loss that fits both, and how to train."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

CLASSES = {"digits": 10, "moons": 2, "xor": 2, "spirals": 3}
PARTS = st.floats(0.001, 0.999)
ACTIVATIONS = st.one_of(
    st.sampled_from([{"type": name} for name in ("ReLU", "Tanh", "Sigmoid", "SiLU", "Identity", "Flatten", "Mish")]),
    st.fixed_dictionaries({"type": st.just("LeakyReLU")}, optional={"negative_slope": PARTS}),
    st.fixed_dictionaries({"type": st.just("ELU")}, optional={"alpha": PARTS | st.just(1)}),
    st.fixed_dictionaries({"type": st.just("GELU")}, optional={"approximate": st.sampled_from(["none", "tanh"])}),
    st.fixed_dictionaries({"type": st.just("Dropout")}, optional={"p": PARTS}),
)
LAYERS = st.one_of(
    ACTIVATIONS,
    st.fixed_dictionaries(
        {"type": st.just("Linear"), "out_features": st.integers(2, 6)}, optional={"bias": st.booleans()}
    ),
    st.fixed_dictionaries({"type": st.just("BatchNorm1d")}, optional={"momentum": st.just("none") | PARTS}),
    st.fixed_dictionaries({"type": st.just("LayerNorm")}, optional={"eps": st.just(1e-3), "bias": st.booleans()}),
)
NESTED = st.recursive(
    LAYERS,
    lambda inner: st.fixed_dictionaries(
        {"type": st.just("Sequential"), "layers": st.lists(inner, min_size=1, max_size=3)}
    ),
    max_leaves=4,
)
OPTIMIZERS = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("SGD"), "lr": PARTS},
        optional={"momentum": PARTS, "weight_decay": st.just(0.0) | PARTS, "nesterov": st.just(False)},
    ),
    st.fixed_dictionaries(
        {"type": st.sampled_from(["Adam", "AdamW"])},
        optional={"lr": PARTS, "betas": st.lists(PARTS, min_size=2, max_size=2), "eps": st.just(1e-6)},
    ),
    st.fixed_dictionaries({"type": st.just("RMSprop")}, optional={"alpha": PARTS, "centered": st.booleans()}),
)
SCHEDULES = st.one_of(
    st.fixed_dictionaries({"type": st.just("StepLR"), "step_size": st.integers(1, 5)}, optional={"gamma": PARTS}),
    st.fixed_dictionaries({"type": st.just("MultiStepLR"), "milestones": st.lists(st.integers(1, 9))}),
    st.fixed_dictionaries({"type": st.just("ExponentialLR"), "gamma": PARTS}),
)
SEQUENCES = st.integers(1, 3).flatmap(
    lambda n: st.fixed_dictionaries(
        {
            "type": st.just("SequentialLR"),
            "schedulers": st.lists(SCHEDULES, min_size=n, max_size=n),
            "milestones": st.just(list(range(2, n + 1))),
        }
    )
)
PLATEAU = st.fixed_dictionaries(
    {"type": st.just("ReduceLROnPlateau")},
    optional={"mode": st.just("min"), "min_lr": PARTS | st.lists(PARTS, min_size=1, max_size=1)},
)
REGRESSION = ["MSELoss", "L1Loss", "HuberLoss", "SmoothL1Loss", "QuadraticLoss"]
REDUCTIONS = {"reduction": st.sampled_from(["mean", "sum"])}


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    name = draw(st.sampled_from(sorted(CLASSES)))
    binary = ["binary"] if CLASSES[name] == 2 else []
    targets = draw(st.sampled_from(["labels", "one-hot", *binary]))
    given = {"targets": st.just(targets)} | ({} if name == "digits" else {"n": st.integers(40, 60)})
    data = st.fixed_dictionaries(
        {"name": st.just(name), **given},
        optional={
            "batch_size": st.integers(2, 20),
            "shuffle": st.booleans(),
            "validation": st.sampled_from([0, 0.0, 0.25]),
            "test": st.sampled_from([0.0, 0.2]),
            "dtype": st.sampled_from(["float32", "float64", "none"]),
        },
    )
    losses, last = {
        "labels": (["CrossEntropyLoss"], []),
        "one-hot": (["CrossEntropyLoss", *REGRESSION], []),
        "binary": (["BCEWithLogitsLoss", *REGRESSION], []),
    }[targets]
    if targets != "one-hot" and draw(st.booleans()):
        losses, last = (["NLLLoss"], ["LogSoftmax"]) if targets == "labels" else (["BCELoss"], ["Sigmoid"])
    end = {"type": "Linear", "out_features": 1 if targets == "binary" else CLASSES[name]}
    layers = [*draw(st.lists(NESTED, max_size=3)), end, *({"type": each} for each in last)]
    if "BatchNorm1d" in repr(layers):  # which takes no batch of one row
        data = data.map(lambda table: {"batch_size": 20, **table, "drop_last": True})
    metrics = ["accuracy", "f1", *([] if targets == "labels" else ["mae", "rmse", "r2"])]
    return draw(
        st.fixed_dictionaries(
            {
                "format": st.just(1),
                "data": data,
                "model": st.just({"layers": layers}),
                "loss": st.fixed_dictionaries({"type": st.sampled_from(losses)}, optional=REDUCTIONS),
                "optim": OPTIMIZERS,
                "train": st.fixed_dictionaries(
                    {"epochs": st.integers(1, 2)},
                    optional={
                        "metrics": st.lists(st.sampled_from(metrics), unique=True) | st.just("none"),
                        "patience": st.integers(1, 3) | st.just("none"),
                        "monitor": st.just("loss"),
                        "restore_best": st.booleans(),
                        "snapshots": st.integers(0, 3),
                        "clip_norm": PARTS | st.just(1) | st.just("none"),
                        "compile": st.booleans(),
                    },
                ),
            },
            optional={"seed": st.integers(0, 2**70), "schedule": SCHEDULES | SEQUENCES | PLATEAU},
        )
    )
