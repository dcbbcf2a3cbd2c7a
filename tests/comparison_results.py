"""Results of a comparison as `records.json` holds them, made up."""

from typing import Any

ARMS = {"dbn": True, "relu": False, "relu-bn": False}


def history(pretrained: bool, seed: int, n_epochs: int = 3) -> list[dict[str, Any]]:
    def record(stage: str, layer: int | None, epoch: int) -> dict[str, Any]:
        return {"stage": stage, "layer": layer, "epoch": epoch, "n_epochs": n_epochs, "loss": (2.0 + seed) / epoch}

    epochs = range(1, n_epochs + 1)
    before = [record("pretrain", layer, epoch) for layer in (0, 1) for epoch in epochs if pretrained]
    return before + [record("finetune" if pretrained else "train", None, epoch) for epoch in epochs]


def points(epoch: int, pretrained: bool) -> dict[str, Any]:
    norms = [0.1 + pretrained, 0.2, 0.4 / (1 + epoch)]
    shares = {"dead_units": [0.0, 0.25], "saturated_units": [0.0, 0.0], "activation_stds": [0.1, 0.2]}
    return {"epoch": epoch, "gradient_norms": norms, "activation_means": [0.5, 0.5], **shares}


def arm_settings(pretrained: bool) -> dict[str, Any]:
    return {
        "pretraining": {"kind": "rbm", "training": {"epochs": 10, "early_stopping": False}} if pretrained else None,
        "finetuning": {"head_epochs": 0, "training": {"learning_rate": 0.001, "early_stopping": False}},
        "dropout": 0.0,
    }


def make_results(labels: tuple[int | str, ...] = (30, "all"), seeds: int = 3) -> dict[str, Any]:
    return {
        "name": "runs/demo",
        "command": "pretrain compare digits --arms dbn,relu,relu-bn -o runs/demo",
        "data": {
            "name": "digits",
            "sha256": "d1" * 32,
            "n_train": 1437,
            "n_test": 360,
            "n_features": 64,
            "n_classes": 2,
            "classes": ["odd", "even"],
            "image_shape": [8, 8],
            "task": "classification",
        },
        "split": {"test_source": "held-out", "seed": 17, "n_train": 1437, "n_validation": 0, "n_test": 360},
        "settings": {
            "hidden_layer_sizes": [19, 11],
            "arms": {
                arm: {"summary": f"about {arm}", "pretrained": pretrained, "settings": arm_settings(pretrained)}
                for arm, pretrained in ARMS.items()
            },
            "labels": list(labels),
            "seeds": list(range(seeds)),
        },
        "machine": {"processor": "Abacus 9000", "n_threads": 2, "device": "cpu"},
        "versions": {"python": "3.11.2", "torch": "2.13.0"},
        "records": [
            {
                "arm": arm,
                "labels": budget,
                "n_labels": 1437 if budget == "all" else budget,
                "seed": seed,
                "test_error": 5.0 + 3 * place + 0.1 * seed + 0.01 * place * seed,
                "n_test": 360,
                "pretrain_seconds": 3.0 * pretrained,
                "seconds": 4.0 + 3.0 * pretrained,
                "n_parameters": 1543,
                **{"epochs": 3 + 6 * pretrained, "steps": 156 + 312 * pretrained, "multiply_adds": 34567891},
                **{
                    "pretrain_epochs": 6 * pretrained,
                    "pretrain_steps": 312 * pretrained,
                    "pretrain_multiply_adds": 0,
                },
                "confusion": [[5, 1], [seed, 4]],
                "diagnostics": [points(epoch, pretrained) for epoch in (0, 1, 3)],
                "history": history(pretrained, seed),
            }
            for seed in range(seeds)
            for place, (arm, pretrained) in enumerate(ARMS.items())
            for budget in labels
        ],
    }
