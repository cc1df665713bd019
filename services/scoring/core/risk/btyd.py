"""Buy-till-you-die models of purchase days: BG/NBD and MBG/NBD, as columns.

The probabilities follow from three numbers per customer and from parameters fitted by maximum
likelihood. Money and the clock are never read, and P(dead) is never called churn: a customer with
one purchase has P(alive) = 1 in BG/NBD by construction. Churn here is
`no_purchase_probability`.

    x    repeat purchase days (purchase days - 1, at least 0)
    t_x  days from the first purchase to the newest one (0 where x is 0)
    age  days from the first purchase to now (T in the papers)

While alive a customer buys at a Poisson rate ~ Gamma(r, alpha) and leaves after each repeat
purchase with a probability ~ Beta(a, b): Fader, Hardie & Lee (2005), "Counting your customers
the easy way", Marketing Science 24(2) 275-284. In MBG/NBD a customer may also leave right after
the first purchase: Batislam, Denizel & Filiztekin (2007), Int. J. Res. Marketing 24(3) 201-209.

With k > 1 the gaps are Erlang-k: k phases at the rate ~ Gamma(r, alpha) make a purchase, so that
they are more regular than chance ((M)BG/CNBD-k: Reutterer, Platzer & Schroeder (2021), "Leveraging
purchase regularity for predicting customer behavior the easy way", Int. J. Res. Marketing 38(1)
194-215). Their sum over the phases is an incomplete beta function here, which also takes a k that
is no whole number. k is not fitted (`regularity`).

>>> import numpy as np
>>> cdnow = Parameters(r=0.243, alpha=4.414, a=0.793, b=2.426)  # weeks; the paper's own fit
>>> x, t_x, age = np.array([2.0, 0.0]), np.array([30.43, 0.0]), np.array([38.86, 38.86])
>>> expected_purchases(cdnow, x, t_x, age, 39.0).round(3)
array([1.226, 0.195])
>>> no_purchase_probability(cdnow, x, t_x, age, 39.0).round(3)
array([0.445, 0.855])
>>> alive_probability(cdnow, x, t_x, age).round(3)
array([0.727, 1.   ])
"""

from dataclasses import astuple, dataclass
from typing import Final, Literal

import numpy as np
from scipy.optimize import minimize
from scipy.special import betainc, betaln, gammaln, hyp2f1, psi

from shared.kernel.arrays import Floats

Model = Literal["bg", "mbg"]

LOG_BOUND: Final = 9.0
"""Each parameter lies within e^-9 .. e^9, alpha in units of the mean age. Where no customer leaves,
or all buy at one rate, the likelihood rises for ever; beyond this no prediction changes."""
STEPS_MAX: Final = 500
"""L-BFGS-B needs about 30."""
STARTS: Final = ((0.5, 0.25, 0.5, 2.5), (1.0, 0.1, 0.1, 5.0))
"""(r, alpha / mean age, a, b). The likelihood has one maximum on real histories; the second
start is for flat ones."""
REGULAR_ROWS_MAX: Final = 5_000
"""Distinct rows that a fit with k > 1 reads, which has no gradient in closed form: a second."""
POLE: Final = 1e-6
"""The expectation's closed form is 0/0 at a = 1: nearer than this, a is moved off 1."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """The fitted parameters: rate ~ Gamma(r, alpha), leaving ~ Beta(a, b)."""

    r: float
    alpha: float
    """In the time unit of the columns."""
    a: float
    b: float
    model: Model = "bg"
    k: float = 1.0
    """Phases of a gap, 1 or more; 1: purchases at random."""


def fit(
    x: Floats,
    t_x: Floats,
    age: Floats,
    *,
    weight: Floats | None = None,
    model: Model = "bg",
    k: float = 1.0,
) -> Parameters:
    """Fit by maximum likelihood over n customers, given as columns; `weight` defaults to 1 each.

    `k` is kept as it is. Deterministic. Raises ValueError when there is no customer, or when the
    columns break 0 <= t_x <= age, x >= 0, or are not finite.
    """
    _check(x, t_x, age)
    # Many customers share the three numbers: the likelihood is summed over distinct rows. Nothing
    # is summed in the order of the customers, so that it does not change the last bit.
    rows, group = np.unique(np.stack([x, t_x, age], axis=1), axis=0, return_inverse=True)
    share = np.bincount(group.ravel(), weights=weight, minlength=len(rows))
    share = share / share.sum()
    unit = max(float(share @ rows[:, 2]), np.finfo(float).tiny)
    columns = (rows[:, 0], rows[:, 1] / unit, rows[:, 2] / unit)
    found = [
        minimize(
            _loss,
            np.log(start),
            args=(*columns, share, model),
            jac=True,
            method="L-BFGS-B",
            bounds=[(-LOG_BOUND, LOG_BOUND)] * 4,
            options={"maxiter": STEPS_MAX, "ftol": 1e-13, "gtol": 1e-8},
        )
        for start in STARTS
    ]
    best = min(found, key=lambda one: float(one.fun)).x
    if k > 1.0:
        best = _fit_regular(best, columns, share, model, k)
    r, alpha, a, b = np.exp(best).tolist()
    return Parameters(r=r, alpha=alpha * unit, a=a, b=b, model=model, k=k)


def _fit_regular(
    start: Floats, columns: tuple[Floats, Floats, Floats], share: Floats, model: Model, k: float
) -> Floats:
    """Return the logs of r, alpha, a, b at this k, from those at 1; a phase is a k-th of a gap."""
    step = -(-len(share) // REGULAR_ROWS_MAX)
    x, t_x, age = (column[::step] for column in columns)
    counts = share[::step] / share[::step].sum()

    def loss(log_parameters: Floats) -> float:
        r, alpha, a, b = np.exp(log_parameters)
        found = log_likelihood(Parameters(r, alpha, a, b, model, k), x, t_x, age)
        return -float(counts @ found)

    found = minimize(
        loss,
        start - np.array([0.0, np.log(k), 0.0, 0.0]),
        method="L-BFGS-B",
        bounds=[(-LOG_BOUND, LOG_BOUND)] * 4,
        options={"maxiter": STEPS_MAX},
    )
    return np.asarray(found.x)


def log_likelihood(parameters: Parameters, x: Floats, t_x: Floats, age: Floats) -> Floats:
    """Return the log-likelihood of each customer's history, shape [n].

    For k > 1 without the summands that depend on k and the single gaps alone.
    """
    stays, left, shared = _parts(parameters, x, t_x, age)
    return np.asarray(shared + np.logaddexp(stays, left))


def alive_probability(parameters: Parameters, x: Floats, t_x: Floats, age: Floats) -> Floats:
    """P(has not left by age), shape [n]. Not a churn score: see the module's docstring."""
    stays, left, _ = _parts(parameters, x, t_x, age)
    return np.asarray(np.exp(stays - np.logaddexp(stays, left)))


def no_purchase_probability(
    parameters: Parameters, x: Floats, t_x: Floats, age: Floats, horizon: float | Floats
) -> Floats:
    """P(no purchase in (age, age + horizon]), shape [n].

    1 - P(alive) (1 - ((alpha + age) / (alpha + age + horizon))^(r + x)): leaving comes with a
    purchase, so before the next one an alive customer only waits. At k = 1 it never falls with
    age; at a higher k it is high after a purchase, lower when the next one is due, and rises then.
    """
    if parameters.k > 1.0:
        stays, left, _ = _parts(parameters, x, t_x, age)
        later, _, _ = _parts(parameters, x, t_x, age + horizon)
        return np.asarray(np.exp(np.logaddexp(later, left) - np.logaddexp(stays, left)))
    still = parameters.alpha + age
    waits = -np.expm1((parameters.r + x) * np.log(still / (still + horizon)))
    return np.asarray(1.0 - alive_probability(parameters, x, t_x, age) * waits)


def expected_purchases(
    parameters: Parameters, x: Floats, t_x: Floats, age: Floats, horizon: float | Floats
) -> Floats:
    """E[purchase days in (age, age + horizon]], shape [n] (Fader, Hardie & Lee 2005, eq. 10).

    Uses Euler's transformation of 2F1: its parameters do not grow with x. For k = 1 alone: raises
    ValueError for any other.
    """
    r, alpha, a, b, _, k = astuple(parameters)
    if k != 1.0:
        raise ValueError("k: expected purchases are known for random gaps alone, k = 1")
    a = 1.0 + POLE if abs(a - 1.0) < POLE else a
    total = a + b + x - 1.0 + _first_may_leave(parameters.model)
    still = alpha + age
    rest = still / (still + horizon)
    series = hyp2f1(total - r - x, a - 1.0, total, 1.0 - rest)
    while_alive = total / (a - 1.0) * (1.0 - rest ** (a - 1.0) * series)
    return np.asarray(alive_probability(parameters, x, t_x, age) * while_alive)


def _first_may_leave(model: Model) -> int:
    return int(model == "mbg")


def _parts(
    parameters: Parameters, x: Floats, t_x: Floats, age: Floats
) -> tuple[Floats, Floats, Floats]:
    """Return log-likelihoods of "stays" and "left after the newest", and their common summand."""
    r, alpha, a, b, model, k = astuple(parameters)
    phases = r + k * x
    chances = x + _first_may_leave(model)  # how often the customer could have left
    prior = betaln(a, b)
    stays = betaln(a, b + chances) - prior
    if k > 1.0:
        with np.errstate(divide="ignore"):  # so long a gap that it is impossible
            waits = np.log(betainc(phases, k, (alpha + t_x) / (alpha + age)))
        stays = stays - phases * np.log(alpha + t_x) + waits
    else:
        stays = stays - phases * np.log(alpha + age)
    left = np.where(
        chances > 0,
        betaln(a + 1.0, b + np.maximum(chances, 1) - 1.0) - prior - phases * np.log(alpha + t_x),
        -np.inf,
    )
    shared = gammaln(phases) - gammaln(r) + r * np.log(alpha)
    return np.asarray(stays), np.asarray(left), np.asarray(shared)


def _loss(
    log_parameters: Floats, x: Floats, t_x: Floats, age: Floats, share: Floats, model: Model
) -> tuple[float, Floats]:
    """Return the mean negative log-likelihood and its gradient by the logs of r, alpha, a, b."""
    r, alpha, a, b = np.exp(log_parameters)
    stays, left, shared = _parts(Parameters(r, alpha, a, b, model), x, t_x, age)
    either = np.logaddexp(stays, left)
    p_left = np.exp(left - either)
    p_stays = 1.0 - p_left
    chances = x + _first_may_leave(model)
    ends = psi(a + b + chances)
    gradient = np.stack(
        [
            psi(r + x) - psi(r) + np.log(alpha)
            - p_stays * np.log(alpha + age) - p_left * np.log(alpha + t_x),
            r / alpha - (r + x) * (p_stays / (alpha + age) + p_left / (alpha + t_x)),
            p_stays * psi(a) + p_left * psi(a + 1.0) - ends - psi(a) + psi(a + b),
            p_stays * psi(b + chances) + p_left * psi(b + np.maximum(chances, 1) - 1.0)
            - ends - psi(b) + psi(a + b),
        ]
    )  # fmt: skip
    slope = -(gradient * np.array([r, alpha, a, b])[:, None]) @ share
    return -float(share @ (shared + either)), slope


def _check(x: Floats, t_x: Floats, age: Floats) -> None:
    if len(x) == 0:
        raise ValueError("x: there is no customer to fit to")
    if not (np.isfinite(x).all() and np.isfinite(t_x).all() and np.isfinite(age).all()):
        raise ValueError("x, t_x, age: every value is a finite number")
    if (x < 0).any() or (t_x < 0).any() or (t_x > age).any():
        raise ValueError("x, t_x, age: x >= 0 and 0 <= t_x <= age hold for every customer")
