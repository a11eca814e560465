"""What the numbers of reports are called and what they mean, of images or of a table's rows."""

from collections.abc import Mapping
from typing import NamedTuple

from ppvae.nouns import IMAGE, Noun

from .evaluation import EXPLAINED, NEIGHBOURS

__all__ = ["PAPER", "Term", "columns", "metric_names", "metrics", "notes", "parts", "tests"]


class Term(NamedTuple):
    """A number's name in tables, and what it means; no meaning where the name says it."""

    name: str
    meaning: str = ""


def metric_names(noun: Noun = IMAGE) -> dict[str, str]:
    """What the metrics are called."""
    return {metric: term.name for metric, term in metrics(noun).items()}


def notes(terms: Mapping[str, Term]) -> dict[str, str]:
    """The meanings by the names, for a table."""
    return {term.name: term.meaning for term in terms.values() if term.meaning}


def metrics(noun: Noun = IMAGE) -> dict[str, Term]:
    """What ``evaluate`` measures."""
    return {
        "elbo": Term(
            "ELBO (nats)",
            "log p(x) is at least this: distortion and rate together, with their signs turned; mean over the "
            f"{noun.many}",
        ),
        "rate": Term("rate (nats)", f"KL of q(z | x) from p(z), what the code costs; mean over the {noun.many}"),
        "rate_z_2": Term("rate of z_2 (nats)"),
        "rate_z_1": Term("rate of z_1 (nats)"),
        "rate_z_global": Term("rate of z_global (nats)"),
        "rate_z_local": Term("rate of z_local (nats)"),
        "distortion": Term("distortion (nats)", "−log p(x | z) at codes drawn from q; of a density it may be negative"),
        "mutual_information": Term(
            f"I(z; x), what the codes say about the {noun.one} (nats)",
            f"how much the codes tell one {noun.one} from the others",
        ),
        "mutual_information_cap": Term(
            f"its cap, log N of the {noun.many} (nats)",
            f"no more can be told of so few {noun.many}: near it, more {noun.many} would show more",
        ),
        "information_gain": Term(
            "log likelihood gained by knowing the code (nats)",
            f"how much surer the decoder is of {noun.a} by its own code than by codes of all",
        ),
        "test_nll": Term(
            f"−log p(x) of test {noun.many} (nats)",
            "by importance sampling with the guide: on average too high, the more so the fewer samples count",
        ),
        "test_nll_standard_error": Term(
            f"its standard error over the {noun.many} (nats)",
            f"of the mean over the test {noun.many}, not of other training seeds",
        ),
        "test_negative_elbo": Term(
            f"−ELBO of test {noun.many} (nats)", "its distance to the row of −log p(x) is what the guide loses"
        ),
        "test_bits_per_dim": Term(
            "−log₂ p(x) of test images (bits a pixel and channel)", "−log p(x) for each pixel and channel, in bits"
        ),
        "test_effective_samples": Term(
            f"effective samples, median test {noun.one}", "how many of the draws carry the estimate of −log p(x)"
        ),
        "label_accuracy": Term(
            f"accuracy of the classifier's label, test {noun.many}", f"of test {noun.many} whose label was hidden"
        ),
        "test_pareto_k_too_large": Term(
            f"share of test {noun.many} whose k̂ is too large",
            f"share whose weights' tail is so heavy that −log p(x) of the {noun.one} is not to be trusted",
        ),
        "entropy_sampled": Term(
            "entropy of the variances, sampled latents (nats)",
            "exp of it is the number of latents that share the variance evenly; of draws from q",
        ),
        "entropy_mean": Term(
            "entropy of the variances, mean latents (nats)",
            "the same of q's means, which do not vary where a latent is not used",
        ),
        "decorrelation_sampled": Term(
            "decorrelation, mean reading, sampled latents",
            "variance over the mean covariance between latents, of draws from q: high is decorrelated",
        ),
        "decorrelation_mean": Term("decorrelation, mean reading, mean latents", "the same of q's means"),
        "decorrelation_literal_sampled": Term(
            "decorrelation, literal reading, sampled latents",
            "the trace over the sum of all other entries, as the paper's words have it",
        ),
        "decorrelation_literal_mean": Term("decorrelation, literal reading, mean latents", "the same of q's means"),
        "disentanglement": Term(
            "β-VAE metric, preset locatello",
            "how often the latent that varies least tells which factor was held: 1 is best",
        ),
        "dci": Term(
            "DCI, disentanglement",
            "1 where each latent matters for one factor alone (trees predict factors from mean codes)",
        ),
        "dci_completeness": Term("DCI, completeness", "1 where each factor is held by one latent alone"),
        "dci_informativeness": Term(
            "DCI, informativeness", "how well the trees predict the factors of what they have not seen; 1 is best"
        ),
        "mig": Term(
            "MIG",
            "how much more the best latent tells of a factor than the second best, as a share of its entropy",
        ),
        "knn_accuracy": Term(
            f"accuracy of the label from the {NEIGHBOURS} nearest mean codes",
            "1 is best; what is said of the label whichever latents say it",
        ),
        "factors_explained": Term(
            f"factors known (R² > {EXPLAINED} from the {NEIGHBOURS} nearest mean codes)",
            "how many factors of the data the codes hold, in whichever latents",
        ),
        "moment_kl": Term(
            "KL of the sampled codes' moments from N(0, I) (nats)",
            "how far mean and covariance of all codes together are from the standard normal's; 0 is best",
        ),
        "informative_by_probability": Term(
            "informative latents by p < ½", "the guide's own probability of being uninformative is below one half"
        ),
        "informative_by_variance": Term(
            "informative latents by posterior variance (E[1/λ])", "the posterior is on average narrower than the prior"
        ),
        "informative_by_kl": Term("informative latents by KL", "the latent costs more than 0.1 nats"),
        "informative_by_ablation": Term(
            "informative latents by ablation", "the squared error rises by more than 1 % without the latent"
        ),
        "informative_by_relevance": Term(
            "informative latents by relevance (99 % of squared Jacobian × prior variance)",
            "the fewest latents that hold 99 % of what moves the decoder's mean",
        ),
        "informative_active_units": Term(
            "active units", f"the posterior mean varies over the {noun.many} by more than 0.01"
        ),
        "largest_snr_called_uninformative": Term(
            "largest signal-to-noise ratio of a latent with p > ½",
            "above 1 the latent says more than its noise, whatever p says of it",
        ),
    }


PAPER = {"paper (NGVAE)": "Table I's NGVAE, on another data set, for another training length"}


def parts(noun: Noun) -> dict[str, Term]:
    """The rate and the log likelihood in parts, as ``information_split`` names them."""
    return {
        "rate": Term("rate, the average KL", "what the codes cost: information and codes off the prior together"),
        "mutual_information": Term(
            "of which information, I(z; x)", f"what tells {noun.many} apart; no more than log of the {noun.many}"
        ),
        "marginal_kl": Term(
            "of which codes off the prior, KL(q(z) ‖ p(z))",
            "cost without information: mended by the prior or by more weight",
        ),
        "distortion": Term("distortion, −log p(x | z)", f"at {noun.a}'s own codes"),
        "gain": Term(
            "gained by knowing the code, at most I(z; x)",
            "log likelihood by own codes over that by the mixture of all",
        ),
        "gain_over_swapped": Term(
            f"gained over codes of other {noun.many}, mean", f"how wrong another {noun.one}'s code is for this one"
        ),
        "gain_over_prior": Term(
            "gained over codes from the prior, mean", f"how wrong a code from the prior is for this {noun.one}"
        ),
    }


def columns(noun: Noun) -> dict[str, Term]:
    """What is said of each latent."""
    return {
        "probability": Term("p", "the guide's probability that the latent is uninformative"),
        "variance": Term(
            "E[1/λ] or variance",
            "mean posterior variance; of a precision λ its expected inverse. Near the prior's: not used",
        ),
        "signal_to_noise": Term(
            "signal / noise", f"variance of the posterior mean over {noun.many}, over the posterior variance"
        ),
        "kl": Term("KL (nats)", f"what the latent costs, mean over {noun.many}"),
        "factor": Term("tells most of", "the known factor of which the latent tells the largest share of its entropy"),
        "factor_share": Term("share of its entropy", "of that factor: 1 is all that is to know"),
        "worsening": Term("ablation (nats)", "rise of the distortion when the latent is replaced by its mean"),
        "relative": Term("ablation (relative)", "rise of the squared error when the latent is replaced by its mean"),
        "relevance": Term(
            f"relevance (squared {noun.pixel} values)",
            f"variance that it gives the decoder's mean, to first order, over all {noun.pixels}",
        ),
    }


def tests(noun: Noun) -> dict[str, str]:
    """What each test of the diagnostics asks, and what its columns hold."""
    return {
        "active latents": f"do the codes vary over the {noun.many}, and cost nats?",
        "information": f"do the codes tell {noun.many} apart, and does the decoder listen?",
        "tightness": "how far is the ELBO below log p(x)? At least KL(q ‖ posterior)",
        "pareto k": f"k̂: for which share of {noun.many} do importance weights of the guide have too heavy a tail?",
        "effective draws": f"how many of {noun.a}'s draws carry the weighted mean?",
        "calibration": f"do intervals of the guide hold the latents that drew {noun.a}?",
        "bias": "are the guide's means off, all to one side?",
        "width": "is the guide too narrow or too wide?",
        "aggregate": f"do the codes of all {noun.many} together look like draws of the prior?",
        "posterior predictive": f"do {noun.many} redrawn from their own codes have the statistics of the {noun.one}?",
        "prior predictive": f"do {noun.many} drawn by the model have the statistics of the data?",
        "effect": f"size of the fault over all latents, {noun.many} or statistics; what was found names the worst",
        "verdict": "of the worst of them; and the grade of the effect: negligible, small, moderate, large, extreme",
        "cause": "what stands behind it; the advice is at the top of the page",
        "good models": "what trained models of these data reach, as measured in this project's own results",
        "beside them": "better, within their range or worse; a tenth beyond either end is within",
    }
