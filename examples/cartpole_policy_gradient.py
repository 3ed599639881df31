"""Policy gradient (REINFORCE) learns to balance a pole on a cart; 64 carts at once, whole episodes as one program."""

import weft as wf
from weft import nn, optim

CARTS, STEPS = 64, 200


def move(state, right):
    """The cart and pole of Barto, Sutton and Anderson (1983) 0.02 s later, pushed with 10 N to the right or left.

    A state (n, 4) holds position, velocity, the angle of the pole and its angular velocity.
    """
    _, v, angle, spin = wf.unstack(state, axis=1)
    force, sin, cos = wf.where(right, 10.0, -10.0), wf.sin(angle), wf.cos(angle)
    push = (force + 0.05 * spin**2 * sin) / 1.1  # a cart of 1 kg, a pole of 0.1 kg and 1 m
    twist = (9.8 * sin - cos * push) / (0.5 * (4 / 3 - 0.1 * cos**2 / 1.1))
    pull = push - 0.05 * twist * cos / 1.1
    return state + 0.02 * wf.stack([v, pull, spin, twist], axis=1)


def upright(state):
    """Whether the cart is still on its track of 4.8 m, with the pole less than 12 degrees from upright."""
    return (wf.abs(state[:, 0]) < 2.4) & (wf.abs(state[:, 2]) < 12 * wf.pi / 180)


def episodes(policy, greedy: bool = False):
    """States, actions, and whether the pole stood, each (STEPS, CARTS, ...): the probability of right is `policy`'s."""

    def step(carry, _):
        state, standing = carry
        share = nn.functional.sigmoid(policy(state)[:, 0])
        right = share > (0.5 if greedy else wf.random.uniform((CARTS,)))
        after = move(state, right)
        return (after, standing & upright(after)), (state, right, standing)

    start = wf.random.uniform((CARTS, 4), low=-0.05, high=0.05)
    return wf.scan(step, (start, wf.ones(CARTS, dtype=wf.bool)), length=STEPS)[1]


def main(rounds: int = 40) -> float:
    wf.manual_seed(0)
    policy = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 1))
    optimizer = optim.Adam(policy.parameters(), lr=0.02)

    @wf.compile
    def improve():
        with wf.no_grad():
            states, right, standing = episodes(policy)
            alive = wf.astype(standing, wf.float32)
            reward = wf.flip(wf.cumulative_sum(wf.flip(alive, axis=0), axis=0), axis=0)  # steps still to come
            mean = reward.mean(axis=1, keepdims=True)  # what carts get at this step on the average
            advantage = alive * (reward - mean) / (reward.std() + 1e-6)
        scores = policy(states)[..., 0]
        log_share = -nn.functional.softplus(
            wf.where(right, -scores, scores)
        )  # log of the chosen side's probability
        loss = -(advantage * log_share).sum() / alive.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return alive.sum() / CARTS

    for i in range(1, rounds + 1):
        length = improve()
        if i % 10 == 0:
            print(f"round {i}: the pole stood for {length.item():.0f} of {STEPS} steps")
    with wf.no_grad():
        length = episodes(policy, greedy=True)[2].sum().item() / CARTS
    print(f"the trained policy holds it for {length:.0f} of {STEPS} steps")
    return length


if __name__ == "__main__":
    main()
