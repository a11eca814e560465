"""Probabilistic PCA of a table with missing entries, by EM: what imputation is held against."""

from dataclasses import dataclass

import numpy as np

__all__ = ["PPCA", "fit_ppca"]


@dataclass(frozen=True)
class PPCA:
    """x = W z + μ + σ ε with z and ε standard normal: weight (column, latent), mean (column,), variance σ²."""

    weight: np.ndarray
    mean: np.ndarray
    variance: float

    def codes(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean (row, latent) and covariance (row, latent, latent) of z given what is observed of each row."""
        latents = self.weight.shape[1]
        seen = (~np.isnan(x)).astype(float)
        outer = (self.weight[:, :, None] * self.weight[:, None]).reshape(len(self.weight), -1)
        precision = np.eye(latents) + (seen @ outer).reshape(-1, latents, latents) / self.variance
        covariance = np.linalg.inv(precision)
        right = np.nan_to_num(x - self.mean) @ self.weight / self.variance
        return (covariance @ right[..., None])[..., 0], covariance

    def imputed(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of every entry drawn anew given its row: exact under the model."""
        mean, covariance = self.codes(x)
        spread = np.einsum("dk,rkl,dl->rd", self.weight, covariance, self.weight, optimize=True)
        return mean @ self.weight.T + self.mean, np.sqrt(spread + self.variance)


def fit_ppca(x: np.ndarray, latents: int, iterations: int = 200, tolerance: float = 1e-4, seed: int = 0) -> PPCA:
    """The maximum of the observed entries' likelihood, to where σ² moves by less than ``tolerance`` an iteration.

    x (row, column), NaN where missing at random. Source: Tipping and Bishop 1999, App. B, with the sums over what is
    observed; Ilin and Raiko 2010, "Practical approaches to principal component analysis in the presence of missing
    values", Sec. 3.
    """
    seen, filled = ~np.isnan(x), np.nan_to_num(x)
    random = np.random.default_rng(seed)
    model = PPCA(0.1 * random.normal(size=(x.shape[1], latents)), np.nanmean(x, 0), float(np.nanvar(x, 0).mean()))
    for _ in range(iterations):
        mean, covariance = model.codes(x)
        codes = np.hstack([mean, np.ones((len(x), 1))])  # the last code is the mean's
        second = codes[:, :, None] * codes[:, None]
        second[:, :-1, :-1] += covariance
        size = latents + 1
        moments = (seen.T @ second.reshape(len(x), -1)).reshape(-1, size, size)
        weight = np.linalg.solve(moments, (filled.T @ codes)[..., None])[..., 0]
        explained = np.einsum("dk,dk->", weight, filled.T @ codes)
        variance = float(((filled**2).sum() - explained) / seen.sum())
        moved = abs(variance / model.variance - 1)
        model = PPCA(weight[:, :-1], weight[:, -1], variance)
        if moved < tolerance:
            break
    return model
