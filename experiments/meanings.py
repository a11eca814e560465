"""What the names in a report's tables mean."""

from .evaluation import EVALUATED

__all__ = ["COLUMNS", "METRICS", "PARTS", "TESTS"]

_METRICS = {
    "elbo": "log p(x) is at least this: distortion and rate together, with their signs turned; mean over the images",
    "rate": "KL of q(z | x) from p(z), what the code costs; mean over the images",
    "distortion": "−log p(x | z) at codes drawn from q; of a density it may be negative",
    "mutual_information": "how much the codes tell one image from the others",
    "mutual_information_cap": "no more can be told of so few images: near it, more images would show more",
    "information_gain": "how much surer the decoder is of an image by its own code than by codes of all",
    "test_nll": "by importance sampling with the guide: on average too high, the more so the fewer samples count",
    "test_nll_standard_error": "of the mean over the test images, not of other training seeds",
    "test_negative_elbo": "its distance to the row of −log p(x) is what the guide loses",
    "test_bits_per_dim": "−log p(x) for each pixel and channel, in bits",
    "test_effective_samples": "how many of the draws carry the estimate of −log p(x)",
    "label_accuracy": "of test images whose label was hidden",
    "test_pareto_k_too_large": "share whose weights' tail is so heavy that −log p(x) of the image is not to be trusted",
    "entropy_sampled": "exp of it is the number of latents that share the variance evenly; of draws from q",
    "entropy_mean": "the same of q's means, which do not vary where a latent is not used",
    "decorrelation_sampled": "variance over the mean covariance between latents, of draws from q: high is decorrelated",
    "decorrelation_mean": "the same of q's means",
    "decorrelation_literal_sampled": "the trace over the sum of all other entries, as the paper's words have it",
    "decorrelation_literal_mean": "the same of q's means",
    "disentanglement": "how often the latent that varies least tells which factor was held: 1 is best",
    "knn_accuracy": "1 is best; what is said of the label whichever latents say it",
    "factors_explained": "how many factors of the data the codes hold, in whichever latents",
    "moment_kl": "how far mean and covariance of all codes together are from the standard normal's; 0 is best",
    "informative_by_probability": "the guide's own probability of being uninformative is below one half",
    "informative_by_variance": "the posterior is on average narrower than the prior",
    "informative_by_kl": "the latent costs more than 0.1 nats",
    "informative_by_ablation": "the squared error rises by more than 1 % without the latent",
    "informative_by_relevance": "the fewest latents that hold 99 % of what moves the decoder's mean",
    "informative_active_units": "the posterior mean varies over the images by more than 0.01",
    "largest_snr_called_uninformative": "above 1 the latent says more than its noise, whatever p says of it",
}
METRICS = {EVALUATED[name]: meaning for name, meaning in _METRICS.items()} | {
    "DCI, disentanglement": "1 where each latent matters for one factor alone (trees predict factors from mean codes)",
    "DCI, completeness": "1 where each factor is held by one latent alone",
    "DCI, informativeness": "how well the trees predict the factors of images that they have not seen; 1 is best",
    "MIG": "how much more the best latent tells of a factor than the second best, as a share of its entropy; 1 is best",
    "paper (NGVAE)": "Table I's NGVAE, on another data set, for another training length",
}
PARTS = {
    "rate, the average KL": "what the codes cost: information and codes off the prior together",
    "of which information, I(z; x)": "what tells images apart; no more than log of the images",
    "of which codes off the prior, KL(q(z) ‖ p(z))": "cost without information: mended by the prior or by more weight",
    "distortion, −log p(x | z)": "at an image's own codes",
    "gained by knowing the code, at most I(z; x)": "log likelihood by own codes over that by the mixture of all",
    "gained over codes of other images, mean": "how wrong another image's code is for this one",
    "gained over codes from the prior, mean": "how wrong a code from the prior is for this image",
}
COLUMNS = {
    "p": "the guide's probability that the latent is uninformative",
    "E[1/λ] or variance": "mean posterior variance; of a precision λ its expected inverse. Near the prior's: not used",
    "signal / noise": "variance of the posterior mean over images, over the posterior variance",
    "KL (nats)": "what the latent costs, mean over images",
    "tells most of": "the known factor of which the latent tells the largest share of its entropy",
    "share of its entropy": "of that factor: 1 is all that is to know",
    "ablation (nats)": "rise of the distortion when the latent is replaced by its mean",
    "ablation (relative)": "rise of the squared error when the latent is replaced by its mean",
}
TESTS = {
    "active latents": "do the codes vary over the images, and cost nats?",
    "information": "do the codes tell images apart, and does the decoder listen?",
    "tightness": "how far is the ELBO below log p(x)? At least KL(q ‖ posterior)",
    "pareto k": "k̂: for which share of images do importance weights of the guide have too heavy a tail?",
    "effective draws": "how many of an image's draws carry the weighted mean?",
    "calibration": "do intervals of the guide hold the latents that drew an image?",
    "bias": "are the guide's means off, all to one side?",
    "width": "is the guide too narrow or too wide?",
    "aggregate": "do the codes of all images together look like draws of the prior?",
    "posterior predictive": "do images redrawn from their own codes have the statistics of the image?",
    "prior predictive": "do images drawn by the model have the statistics of the data?",
    "effect": "size of the fault: nats, share of images or draws, largest distance of distributions, times the width",
    "verdict": "by chance or convention, and the grade of the effect: negligible, small, moderate, large, extreme",
    "cause": "what stands behind it; the advice is at the top of the page",
    "reached": "what trained models of this data reach in this repository's own results",
}
