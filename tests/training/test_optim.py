from tests.tiny import tiny_network
from transfer.training.optim import make_optimizer


def test_an_optimizer_keeps_each_group_s_rate_and_spares_biases():
    network = tiny_network()
    network.freeze_below("block5")
    groups = network.trainable_groups(1e-2, body_rate=0.1)
    optimizer = make_optimizer("adamw", groups, 0.05)
    found = [
        (group["lr"], group["weight_decay"], group["params"][0].ndim)
        for group in optimizer.param_groups
    ]
    assert found == [(1e-2, 0.05, 2), (1e-2, 0.0, 1), (1e-3, 0.05, 4), (1e-3, 0.0, 1)]
