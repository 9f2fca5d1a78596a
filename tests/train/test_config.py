import json

import pytest

from fullgraph.errors import InputError
from fullgraph.train.config import TrainConfig


def test_json_round_trip():
    config = TrainConfig(model="gat", hidden=12, heads=4, lr=1e-3, normalize_features=True, schedule="cosine")
    assert TrainConfig.from_dict(json.loads(config.to_json())) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model": "gcm"}, "model must be one of gcn, sage, gin, gat, rgcn, hgt: 'gcm'"),
        ({"hidden": 0}, "hidden must be at least 1: 0"),
        ({"hidden": 1.5}, "hidden must be an int: 1.5"),
        ({"epochs": True}, "epochs must be an int: True"),
        ({"normalize_features": 1}, "normalize_features must be a bool: 1"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1: 1.0"),
        ({"lr": 0.0}, "lr must be above 0 and finite: 0.0"),
        ({"lr": float("nan")}, "lr must be above 0 and finite: nan"),
        ({"weight_decay": float("inf")}, "weight_decay must be finite: inf"),
        ({"patience": -1}, "patience must be at least 0: -1"),
        ({"norm": "layer"}, "norm must be one of none, batch: 'layer'"),
        ({"schedule": "linear"}, "schedule must be one of constant, cosine, step: 'linear'"),
        (
            {"precision": "16-mixed"},
            "precision must be one of 32-true, 64-true, bf16-mixed, bf16-true: '16-mixed'",
        ),
        ({"mode": "fast"}, "mode must be one of sar, keep, halo: 'fast'"),
        ({"model": "gat", "hidden": 10, "heads": 4}, "hidden must be a multiple of heads, which is 4: 10"),
        ({"heads": 2}, "heads is for the models gat and hgt, but the model is gcn; leave heads at 1: 2"),
        ({"pruned_norm": "all"}, "pruned_norm must be one of refuse, computed: 'all'"),
        (
            {"prune": True, "norm": "batch"},
            (
                "with prune, the statistics of norm batch are those of the computed rows and not of all, so losses "
                "differ; choose: pruned_norm computed to have it so, norm none, or no prune; pruned_norm is: refuse"
            ),
        ),
        (
            {"norm": "batch", "pruned_norm": "computed"},
            "pruned_norm is for norm batch with prune, but norm is batch and prune is False; leave it out: computed",
        ),
        (
            {"prune": True, "pruned_norm": "computed"},
            "pruned_norm is for norm batch with prune, but norm is none and prune is True; leave it out: computed",
        ),
        (
            {"model": "rgcn", "prune": True},
            "prune is for graphs of one type, but the model is rgcn; leave it out: True",
        ),
        ({"jump": "cat", "num_layers": 1}, "jump needs at least 2 layers to choose from; num_layers is: 1"),
    ],
)
def test_a_bad_value_is_refused_by_name(values, message):
    with pytest.raises(InputError) as caught:
        TrainConfig(**values)
    assert str(caught.value) == message


def test_an_unknown_field_is_refused():
    with pytest.raises(InputError, match=r"^a training config has no such field; the nearest is \w+: learning_rate$"):
        TrainConfig.from_dict({"learning_rate": 0.1})


def test_resuming_with_another_model_is_refused_and_with_more_epochs_is_not():
    earlier = TrainConfig(hidden=16, epochs=10)
    TrainConfig(hidden=16, epochs=20, mode="halo").refuse_resume_from(earlier)
    with pytest.raises(InputError) as caught:
        TrainConfig(hidden=32, epochs=10).refuse_resume_from(earlier)
    assert str(caught.value) == (
        "the run was begun with hidden 16 and cannot be resumed with another; "
        "leave the option out, or start a new run with its own --run folder: 32"
    )


def test_a_cosine_schedule_fixes_the_number_of_epochs():
    earlier = TrainConfig(schedule="cosine", epochs=10)
    with pytest.raises(InputError, match=r"^the run was begun with epochs 10 "):
        TrainConfig(schedule="cosine", epochs=20).refuse_resume_from(earlier)
